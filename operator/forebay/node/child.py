"""The agent's side of a worker."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from forebay.node.worker import read_listing
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
                self._process.kill()

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
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._process = None
            process.kill()
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
        """Let one work, and answer what the source lists. Raises the StorageError that it met, or Cancelled."""
        request = json.dumps({**asked, "allow_loopback": self.allow_loopback, "user": self.user}) + "\n"
        process = self._start(environment)
        with cancel.killing(process):
            event = _converse(process, request, on_progress)
        cancel.check()
        if event.get("event") == "listing":
            return read_listing(event)
        if event.get("event") == "error":
            raise StorageError(Reason(event["reason"]), event["message"])
        raise StorageError(
            Reason.SERVER_ERROR,
            f"the download ended with status {process.returncode} and no word: `kubectl logs` of the node's agent "
            "has more; where it was killed (-9), raise nodeCache.resources.limits.memory",
        )

    def _start(self, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        # It becomes the other user itself: between a fork and its program gRPC's threads are missing, which it minds.
        return subprocess.Popen(
            [sys.executable, "-m", "forebay.node.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )


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
