"""Threads that do one thing after another, and what happens when nothing moves any more."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TypeVar

from forebay.serving.storage.errors import Reason, StorageError

# A server that sends a byte now and then never runs into a time limit of the connection.
STALLED_S = 120.0

Job = TypeVar("Job")


def run_workers(
    count: int,
    jobs: Iterator[Job],
    work: Callable[[Job], None],
    *,
    progress: Callable[[], int],
    stop: threading.Event,
) -> None:
    """Do all jobs, `count` at a time. Raises the first error, when all have stopped.

    Raises StorageError(EndpointUnreachable) when `progress` stays the same for STALLED_S: then those who wait for the
    server are left behind, and end with the process.
    """
    taking = threading.Lock()
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def drain() -> None:
        try:
            while not stop.is_set():
                with taking:
                    job = next(jobs, None)
                if job is None:
                    break
                work(job)
        except BaseException as error:  # noqa: BLE001  (raised by who waits)
            stop.set()
            ended.put(error)
        else:
            ended.put(None)

    for number in range(count):
        threading.Thread(target=drain, name=f"download-{number}", daemon=True).start()
    try:
        failed = _wait(count, ended, progress)
    finally:
        stop.set()
    if failed is not None:
        raise failed


def _wait(count: int, ended: "SimpleQueue[BaseException | None]", progress: Callable[[], int]) -> BaseException | None:
    """The first error, when all have ended, or those that haven't wait for a server in vain."""
    failed: BaseException | None = None
    before, since_s = progress(), time.monotonic()
    while count:
        try:
            error = ended.get(timeout=min(STALLED_S, 1))
            failed, count = failed or error, count - 1
        except Empty:
            now = progress()
            if now != before:
                before, since_s = now, time.monotonic()
            elif time.monotonic() - since_s > STALLED_S:
                return failed or _stalled()
    return failed


def _stalled() -> StorageError:
    return StorageError(
        Reason.ENDPOINT_UNREACHABLE,
        f"the server has sent next to nothing for {STALLED_S:.0f} seconds: look at its load, and at proxies between; "
        "then run this again (it goes on where it stopped)",
    )
