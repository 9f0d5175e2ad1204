"""The test cluster as tests see it: hack/cluster, kubectl, and what pods need to be allowed in."""

import contextlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

HACK = Path(__file__).parents[2] / "hack"
T = TypeVar("T")
CONTEXT = "forebay-test"
IMAGE = "forebay.test/base:1"
# What Pod Security "restricted" asks of a container.
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def hack_cluster(*arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HACK / "cluster", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )


class Kubectl:
    """kubectl on the test cluster, and on no other."""

    def __init__(self, kubeconfig: str, namespace: str = "default") -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        # hack/cluster keeps the kubectl that it chose beside it.
        kept = Path(kubeconfig).with_name("bin") / "kubectl"
        self.program = str(kept) if kept.exists() else shutil.which("kubectl") or "kubectl"

    def run(self, *arguments: str, given: str | None = None, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        command = [self.program, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout_s, check=False)

    def __call__(self, *arguments: str, given: str | None = None, timeout_s: float = 60) -> str:
        done = self.run(*arguments, given=given, timeout_s=timeout_s)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(objects))

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", *arguments, "--output=json"))
        return found

    def within(self, namespace: str) -> "Kubectl":
        return Kubectl(self.kubeconfig, namespace)

    @contextlib.contextmanager
    def watch(self, *arguments: str, path: str) -> Iterator[list[str]]:
        """What a JSONPath gives at each change, a line each, as long as the block lasts."""
        template = f"--output=jsonpath={{{path}}}{{'\\n'}}"
        command = [self.program, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", "get", *arguments]
        seen: list[str] = []
        with subprocess.Popen([*command, "--watch", template], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            reader = threading.Thread(target=lambda: seen.extend(process.stdout or ()), daemon=True)
            reader.start()
            try:
                yield seen
            finally:
                process.terminate()
                reader.join(10)


def eventually(ask: Callable[[], T], *, timeout_s: float = 30, explain: Callable[[], str] = str) -> T:
    """What `ask` gives once it is true. `explain` tells more when that takes too long."""
    deadline = time.monotonic() + timeout_s
    while not (found := ask()):
        assert time.monotonic() < deadline, f"still {found!r} after {timeout_s} s\n{explain()}"
        time.sleep(0.2)
    return found
