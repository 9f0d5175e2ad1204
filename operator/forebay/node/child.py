"""The agent's side of a worker."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from forebay.node.worker import read_listing
from forebay.serving.environments.errors import InstallError
from forebay.serving.environments.errors import Reason as Hindrance
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.progress import Progress
from forebay.serving.storage.source import Listing


class Cancelled(Exception):  # noqa: N818  (nothing went wrong)
    """The volume is gone, or the agent ends."""


class Cancel:
    """Ends what is done for a volume, whatever that is at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self.is_set = False

    def set(self) -> None:
        """Cancel."""
        with self._lock:
            self.is_set = True
            if self._process is not None:
                _kill(self._process)

    def check(self) -> None:
        """Raise Cancelled if it is so."""
        if self.is_set:
            raise Cancelled

    @contextmanager
    def killing(self, process: "subprocess.Popen[str]") -> Iterator[None]:
        """Kill a process where it is cancelled meanwhile, and at the end in any case."""
        with self._lock:
            self._process = process
            if self.is_set:
                _kill(process)
        try:
            yield
        finally:
            with self._lock:
                self._process = None
            _kill(process)
            process.wait()


@dataclass(frozen=True)
class Workers:
    """How workers are started: as which user (None: the agent's own), and whether loopback is open to them."""

    user: int | None
    allow_loopback: bool = False

    def run(
        self,
        asked: Mapping[str, Any],
        environment: Mapping[str, str],
        cancel: Cancel,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Listing:
        """Let one download, and answer what the source lists. Raises the StorageError that it met, or Cancelled."""
        event = self._ask("forebay.node.worker", asked, environment, cancel, on_progress)
        if event["event"] == "error":
            raise StorageError(Reason(event["reason"]), event["message"])
        return read_listing(event)

    def install(
        self,
        asked: Mapping[str, Any],
        environment: Mapping[str, str],
        cancel: Cancel,
        on_progress: Callable[[Progress], None],
    ) -> None:
        """Let one install a script's libraries. Raises the InstallError that it met, StorageError or Cancelled."""
        event = self._ask("forebay.node.installer", asked, environment, cancel, on_progress)
        if event["event"] == "error":
            raise InstallError(Hindrance(event["reason"]), event["message"])

    def _ask(
        self,
        program: str,
        asked: Mapping[str, Any],
        environment: Mapping[str, str],
        cancel: Cancel,
        on_progress: Callable[[Progress], None] | None,
    ) -> dict[str, Any]:
        """The last that a worker says."""
        request = json.dumps({**asked, "allow_loopback": self.allow_loopback, "user": self.user}) + "\n"
        process = _start(program, environment)
        with cancel.killing(process):
            event = _converse(process, request, on_progress)
        cancel.check()
        if event:
            return event
        raise StorageError(
            Reason.SERVER_ERROR,
            f"the download ended with status {process.returncode} and no word: `kubectl logs` of the node's agent "
            "has more; where it was killed (-9), raise nodeCache.resources.limits.memory",
        )


def _start(program: str, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    # It becomes the other user itself: between a fork and its program gRPC's threads are missing, which it minds.
    return subprocess.Popen(
        [sys.executable, "-m", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )


def _kill(process: "subprocess.Popen[str]") -> None:
    """End a worker and what it started, its group: that may be there yet where the worker itself is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _converse(
    process: "subprocess.Popen[str]", request: str, on_progress: Callable[[Progress], None] | None
) -> dict[str, Any]:
    """Ask, and read until it has said the last; empty where it ended without."""
    assert process.stdin  # noqa: S101  (they are pipes)
    assert process.stdout  # noqa: S101
    try:
        process.stdin.write(request)
        process.stdin.flush()
    except BrokenPipeError:
        process.wait()
        return {}
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event.pop("event") != "progress":
            process.wait()
            return json.loads(line)  # type: ignore[no-any-return]
        if on_progress:
            on_progress(Progress(**event))
    process.wait()
    return {}
