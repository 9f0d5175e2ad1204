"""How far a download has come."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

REPORT_EVERY_S = 0.25


@dataclass(frozen=True)
class Progress:
    """A moment of a download. Bytes and files, done and in all; `bytes_total` is None while it isn't known."""

    bytes_done: int
    bytes_total: int | None
    files_done: int
    files_total: int


OnProgress = Callable[[Progress], None]


class Meter:
    """Counts from several threads, and reports what changed, at most four times a second, until it is finished."""

    def __init__(self, on_progress: OnProgress | None, *, bytes_total: int | None, files_total: int) -> None:
        self._on_progress = on_progress
        self._bytes_total, self._files_total = bytes_total, files_total
        self._bytes_done = self._files_done = self._moves = 0
        self._reported_s = float("-inf")
        self._reported: Progress | None = None
        self._lock = threading.Lock()
        self._finished = threading.Event()
        if on_progress is not None:
            threading.Thread(target=self._follow, name="progress", daemon=True).start()

    def add(self, *, count: int = 0, files: int = 0) -> None:
        """Count bytes (negative: they must be fetched again) and finished files."""
        with self._lock:
            self._moves += 1
            self._bytes_done += count
            self._files_done += files
            if time.monotonic() - self._reported_s >= REPORT_EVERY_S:
                self._report()

    def stir(self) -> None:
        """Note that something goes on which brings no bytes: a file that arrived is read again, for its sums."""
        self._moves += 1

    @property
    def moves(self) -> int:
        """A number that changes whenever anything goes on."""
        return self._moves

    def finish(self) -> None:
        """Report the last state, however soon after the one before, unless it was reported."""
        self._finished.set()
        with self._lock:
            if self._state() != self._reported:
                self._report()

    def _follow(self) -> None:
        """A server that falls silent doesn't leave what came last unsaid."""
        while not self._finished.wait(REPORT_EVERY_S):
            with self._lock:
                if not self._finished.is_set() and self._state() != self._reported:
                    self._report()

    def _report(self) -> None:
        self._reported_s, self._reported = time.monotonic(), self._state()
        if self._on_progress is not None:
            self._on_progress(self._reported)

    def _state(self) -> Progress:
        return Progress(self._bytes_done, self._bytes_total, self._files_done, self._files_total)
