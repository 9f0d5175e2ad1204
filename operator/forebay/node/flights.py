"""One download of a source at a time: who comes later waits for it, and sees how far it is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from forebay.node.child import Cancel
from forebay.node.volumes import Volume
from forebay.serving.storage.progress import Progress

_LOOK_EVERY_S = 0.2


@contextmanager
def slot(among: threading.Semaphore, cancel: Cancel, volume: Volume | None = None) -> Iterator[None]:
    """Wait for one of those that run at once, and say so in the volume. Raises Cancelled."""
    if not among.acquire(blocking=False):
        if volume:
            volume.tell_waiting()
        while not among.acquire(timeout=_LOOK_EVERY_S):
            cancel.check()
        if volume:
            volume.tell_progress(None)
    try:
        cancel.check()
        yield
    finally:
        among.release()


class Flight:
    """The download of one source."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.progress: Progress | None = None
        self.takers = 0


class Flights:
    """The downloads that run, by the name of what they bring."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> set[str]:
        """What is being brought now."""
        with self._lock:
            return set(self._flights)

    @contextmanager
    def turn(self, name: str, follow: Callable[[Progress], None], cancel: Cancel) -> Iterator[Flight]:
        """Wait until nobody else brings it, and keep others from it. Raises Cancelled."""
        with self._lock:
            flight = self._flights.setdefault(name, Flight())
            flight.takers += 1
        try:
            told = None
            while not flight.lock.acquire(timeout=_LOOK_EVERY_S):
                cancel.check()
                if flight.progress is not None and flight.progress != told:
                    told = flight.progress
                    follow(told)
            try:
                cancel.check()
                yield flight
            finally:
                flight.lock.release()
        finally:
            with self._lock:
                flight.takers -= 1
                if not flight.takers:
                    del self._flights[name]
