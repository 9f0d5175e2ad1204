import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chart.promtool import find_promtool


@pytest.fixture(scope="session")
def promtool() -> Callable[..., None]:
    """Run promtool, which must succeed."""
    found = find_promtool()
    if found is None:
        missing = "promtool is not here: install it (Debian: apt-get install prometheus)"
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)

    def run(*arguments: str | Path) -> None:
        done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    return run
