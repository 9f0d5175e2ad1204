"""An apiserver with controllers and no nodes, and the forebay command in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import commands
from tests.api.apiserver import ControlPlane


@dataclass(frozen=True, kw_only=True)
class Command:
    """forebay, with a kubeconfig and no other configuration of this machine's."""

    kubeconfig: Path | str
    home: Path

    def __call__(
        self, *arguments: str | Path, timeout_s: float = 240, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return commands.run([*map(str, arguments)], environment=self.environment | environment, timeout_s=timeout_s)

    def build(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "forebay.cli", *map(str, arguments)]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "FOREBAY"))}
        return {
            **kept, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home),
            "FOREBAY_STATE": str(self.home / "state"), "NO_COLOR": "1", "COLUMNS": "200",
        }  # fmt: skip


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Deployments make pods, which nothing runs."""
    with ControlPlane(tmp_path_factory.mktemp("plane"), controller_manager=True) as plane:
        yield plane


@pytest.fixture
def forebay(plane: ControlPlane, tmp_path: Path) -> Command:
    return Command(kubeconfig=plane.kubeconfig, home=tmp_path)
