"""One process of local mode: started in a session of its own, logged to a file, started again when it dies."""

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_FIRST_BACKOFF_S = 0.2
_MAX_BACKOFF_S = 30.0
_STEADY_S = 60.0
_PR_SET_PDEATHSIG = 1
_NOT_RUN = 127  # as shells say it
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (the kernel's name for it)
# Loaded here: between fork and exec, another thread may have held the loader's lock.
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run. The log is a file of the process's own; `shared_memory` is how its files in /dev/shm begin."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    shared_memory: str = ""


def die_with_parent() -> None:
    """For `preexec_fn`: end the child when its parent ends, however that does."""
    # In the child, before exec: whoever kills forebay with -9 must not leave a Triton behind.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """Keeps a command running until it is stopped; a crash is followed by a restart, each later than the last."""

    def __init__(self, command: Command, *, on_exit: Callable[[int], None]) -> None:
        self.command = command
        self.restarts = 0
        self._on_exit = on_exit
        self._child: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Process id, None while it is down."""
        return self._child.pid if self._child and self._child.returncode is None else None

    def start(self) -> None:
        """Run the command in a task of its own."""
        self.command.log.parent.mkdir(parents=True, exist_ok=True)
        self.command.log.write_bytes(b"")
        self._task = asyncio.create_task(self._keep_running(), name=self.command.name)

    async def _keep_running(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while not self._stopping:
            started = time.monotonic()
            try:
                status = await self._run_once()
            except OSError as error:
                self._write(f"{self.command.argv[0]} can't be run: {error.strerror}")
                status = _NOT_RUN
            if self._stopping:
                return
            # On a full disk nobody can be told: no reason not to start it again.
            with contextlib.suppress(OSError):
                self._on_exit(status)
            if time.monotonic() - started > _STEADY_S:
                backoff_s = _FIRST_BACKOFF_S
            self._log(f"exited with {describe_exit(status)}; starting again in {backoff_s:.1f} s")
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)
            self.restarts += 1

    async def _run_once(self) -> int:
        with self.command.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *self.command.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.command.env},
                # Ctrl-C reaches forebay alone, which then drains before it stops anyone.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        status = await self._child.wait()
        self._kill_group()
        return status

    def _log(self, text: str) -> None:
        self._write(f"[forebay] {self.command.name} {text}")

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError), self.command.log.open("a") as log:
            log.write(f"{line}\n")

    def _kill_group(self) -> None:
        # Triton's Python backend runs each model instance in a process of its own.
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        if self.command.shared_memory:
            # Who is killed leaves it behind: memory that is gone until the machine is started again.
            for file in _SHARED_MEMORY.glob(f"{self.command.shared_memory}*"):
                file.unlink(missing_ok=True)

    async def stop(self, *, grace_s: float) -> None:
        """SIGTERM, then after `grace_s` seconds SIGKILL to the whole group."""
        self._stopping = True
        child = self._child
        if child and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), grace_s)
        self.kill()
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if child:
            await child.wait()  # or its end would be told to a loop that is closed

    def restart(self) -> None:
        """SIGKILL to the whole group, which is started again as after a crash."""
        self._kill_group()

    def kill(self) -> None:
        """SIGKILL to the whole group, at once and for good."""
        self._stopping = True
        self._kill_group()


def describe_exit(status: int) -> str:
    """Exit status as a person says it."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def read_tail(log: Path, *, max_bytes: int = 65536) -> str:
    """The end of a log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - max_bytes))
        return file.read().decode(errors="replace")
