import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import ensure_prometheus


@pytest.fixture(scope="session")
def promtool() -> Callable[..., None]:
    """Run promtool, which must succeed."""
    found = ensure_prometheus("promtool")

    def run(*arguments: str | Path) -> None:
        done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    return run
