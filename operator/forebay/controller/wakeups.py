"""Whose turn it is: each ModelDeployment at most once at a time, however often it was woken."""

import asyncio
import heapq
import random
import time
from collections.abc import Awaitable, Callable, Hashable

from forebay.controller.tasks import run_until_one_ends
from forebay.kube.holdings import Owner


def spread(delay_s: float) -> float:
    """A tenth less or more at most, so that many aren't looked at together. What is due has its time."""
    return delay_s * random.uniform(0.9, 1.1)  # noqa: S311  (to spread, not to hide)


class Wakeups:
    """ModelDeployments that are to be looked at, now or later. Wakes of one that waits already are one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ready: asyncio.Queue[Owner] = asyncio.Queue()
        self._queued: set[Owner] = set()
        self._running: set[Owner] = set()
        # Woken while running, and by what: to be looked at once more.
        self._again: dict[Owner, set[Hashable]] = {}
        self._due: dict[Owner, float] = {}
        self._later: list[tuple[float, Owner]] = []
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """How many wait for their turn."""
        return len(self._queued) + len(self._again)

    def wake(self, owner: Owner, cause: Hashable = None) -> None:
        """Look at it as soon as may be. A `cause` can be explained, as long as it is being looked at."""
        self._due.pop(owner, None)
        if owner in self._running:
            self._again.setdefault(owner, set()).add(cause)
        elif owner not in self._queued:
            self._queued.add(owner)
            self._ready.put_nowait(owner)

    def explain(self, owner: Owner, cause: Hashable) -> None:
        """What woke it was its own look's doing, heard of before the look was told: no reason for another."""
        causes = self._again.get(owner, set())
        causes.discard(cause)
        if not causes:
            self._again.pop(owner, None)

    def wake_in(self, owner: Owner, delay_s: float) -> None:
        """Look at it after a while, unless it is woken before. The last word counts."""
        due = self._clock() + delay_s
        self._due[owner] = due
        heapq.heappush(self._later, (due, owner))
        self._changed.set()

    def forget(self, owner: Owner) -> None:
        """It is gone: nothing is due any more."""
        self._due.pop(owner, None)

    async def run(self, work: Callable[[Owner], Awaitable[None]], *, workers: int) -> None:
        """Work on so many at once until cancelled, or until `work` raises."""
        await run_until_one_ends([self._tick(), *(self._work(work) for _ in range(workers))])

    async def _work(self, work: Callable[[Owner], Awaitable[None]]) -> None:
        while True:
            owner = await self._ready.get()
            self._queued.discard(owner)
            self._running.add(owner)
            try:
                await work(owner)
            finally:
                self._running.discard(owner)
            if self._again.pop(owner, None):
                self.wake(owner)

    async def _tick(self) -> None:
        while True:
            while self._later and self._later[0][0] <= self._clock():
                due, owner = heapq.heappop(self._later)
                if self._due.get(owner) == due:
                    self.wake(owner)
            self._changed.clear()
            timeout = self._later[0][0] - self._clock() if self._later else None
            try:
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
            except TimeoutError:
                continue
