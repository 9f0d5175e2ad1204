"""The forebay command in processes that begin at once: forked from one that has imported what commands need.

To import it takes a second or two of CPU, each time. What the start itself comes to is tested in
tests/unit/test_cli.py, and by what runs `forebay` in a shell.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "forebay.cli", "forebay.local.serve", "forebay.local.check", "forebay.local.predict", "forebay.local.versions",
        "forebay.cluster.install", "forebay.cluster.logs", "forebay.cluster.status", "forebay.plan.manifests", "boto3",
    ]
)  # fmt: skip


class Command:
    """A process of the command, to be used as a Popen."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        stdout: Path,
        stderr: Path,
        stdin: Path = Path(os.devnull),
    ) -> None:
        self.args = ["forebay", *arguments]
        files = (str(stdin), str(stdout), str(stderr))
        self._process = _FORKS.Process(
            target=_run, args=(self.args, dict(environment), str(Path.cwd()), files), daemon=True
        )
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str], *, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with nothing to read."""
    if environment.get("PYTHONPATH") != os.environ.get("PYTHONPATH"):
        # It is to import something else.
        return subprocess.run(
            [str(Path(sys.executable).with_name("forebay")), *arguments], env=dict(environment), timeout=timeout_s,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
        command = Command(arguments, environment=environment, stdout=stdout, stderr=stderr)
        try:
            status = command.wait(timeout_s)
        finally:
            command.kill()
        return subprocess.CompletedProcess(command.args, status, stdout.read_text(), stderr.read_text())


def _run(arguments: list[str], environment: dict[str, str], folder: str, files: tuple[str, str, str]) -> None:
    from forebay.cli import main  # noqa: PLC0415

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, file in enumerate(files):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY
        opened = os.open(file, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  (as Python itself begins)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = arguments
    main()
