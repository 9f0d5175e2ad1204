"""Instances with their queues: who gets a request, when it is answered, and what is refused.

As in the cluster: least requests of two that chance names, a full queue is tried again on another one, the rest waits
in turn. A request that isn't answered within the queue's timeout ends then, and has its slot as long.
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

ANSWERED, REFUSED, TIMED_OUT, NOBODY = "answered", "queue-full", "timeout", "no-instance"
HELD_FULL, HELD_LATE = "cold-start-full", "cold-start-timeout"
_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What an instance is like."""

    slots: int
    depth: int
    timeout_s: float
    service_s: float
    start_s: float


class Request(NamedTuple):
    """When it came, and when it came here: it may have been held in between."""

    came_s: float
    arrived_s: float


@dataclass(kw_only=True)
class Instance:
    """One of them: since when it is there, from when on it serves, and what it has to do."""

    created_s: float
    ready_s: float
    working: int = 0
    waiting: deque[Request] = field(default_factory=deque)
    leaving: bool = False

    @property
    def load(self) -> int:
        """Requests that it works on, and that wait."""
        return self.working + len(self.waiting)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a request, when it came, and after how long."""

    came_s: float
    latency_s: float
    how: str


class Instances:
    """All instances of a workload. `finish` is called with what became of each request."""

    def __init__(self, shape: Shape, *, seed: int, finish: Callable[[Outcome], None]) -> None:
        self.shape = shape
        self.present: list[Instance] = []
        self._finish = finish
        self._chance = random.Random(seed)  # noqa: S311
        self._ends: list[tuple[float, int, Instance, Request]] = []
        self._numbers = count()
        self.busy_s = 0.0
        # Seconds that instances were there, those that start and drain included.
        self.held_s = 0.0
        self.counts: Counter[str] = Counter()

    @property
    def wanted(self) -> int:
        """How many there are to be, those that start included."""
        return sum(not each.leaving for each in self.present)

    def list_ready(self, now_s: float) -> list[Instance]:
        """Those that take requests."""
        return [each for each in self.present if not each.leaving and each.ready_s <= now_s]

    def scale(self, wanted: int, now_s: float, *, start_s: float | None = None) -> None:
        """Have so many: the newest go first, those that start before all others."""
        start_s = self.shape.start_s if start_s is None else start_s
        staying = [each for each in self.present if not each.leaving]
        for _ in range(wanted - len(staying)):
            self.present.append(Instance(created_s=now_s, ready_s=now_s + start_s))
        for each in sorted(staying, key=lambda one: one.created_s)[wanted:]:
            each.leaving = True
            self._release(each, now_s)

    def take(self, now_s: float, *, came_s: float | None = None) -> None:
        """A request comes, or is let go that was held since then."""
        request = Request(now_s if came_s is None else came_s, now_s)
        ready = self.list_ready(now_s)
        if not ready:
            self.end(request.came_s, now_s, NOBODY)
            return
        for _ in range(_TRIES):
            one, other = self._chance.choice(ready), self._chance.choice(ready)
            chosen = one if one.load <= other.load else other
            if chosen.working < self.shape.slots:
                self._begin(chosen, request, now_s)
                return
            if len(chosen.waiting) < self.shape.depth:
                chosen.waiting.append(request)
                return
        self.end(request.came_s, now_s, REFUSED)

    def count_room(self, now_s: float) -> int:
        """How many more can be taken."""
        room = self.shape.slots + self.shape.depth
        return sum(max(0, room - each.load) for each in self.list_ready(now_s))

    @property
    def next_end_s(self) -> float:
        """When the next request ends."""
        return self._ends[0][0] if self._ends else float("inf")

    def advance(self) -> float:
        """Let the next request end, and another one begin; the time."""
        now_s, _, instance, request = heapq.heappop(self._ends)
        instance.working -= 1
        self._end(request, now_s)
        while instance.waiting and instance.working < self.shape.slots:
            waiting = instance.waiting.popleft()
            if now_s - waiting.arrived_s >= self.shape.timeout_s:
                self._end(waiting, now_s)
            else:
                self._begin(instance, waiting, now_s)
        self._release(instance, now_s)
        return now_s

    def find_ready_s(self, now_s: float) -> float:
        """When the next of those that start serves."""
        return min((each.ready_s for each in self.present if each.ready_s > now_s), default=float("inf"))

    def close(self, now_s: float) -> None:
        """Count the time of those that are still there."""
        self.held_s += sum(now_s - each.created_s for each in self.present)

    def _begin(self, instance: Instance, request: Request, now_s: float) -> None:
        instance.working += 1
        end_s = min(now_s + self.shape.service_s, request.arrived_s + self.shape.timeout_s)
        self.busy_s += end_s - now_s
        heapq.heappush(self._ends, (end_s, next(self._numbers), instance, request))

    def _end(self, request: Request, now_s: float) -> None:
        is_late = now_s - request.arrived_s >= self.shape.timeout_s
        self.end(request.came_s, now_s, TIMED_OUT if is_late else ANSWERED)

    def end(self, came_s: float, now_s: float, how: str) -> None:
        """It is over for a request."""
        self.counts[how] += 1
        self._finish(Outcome(came_s=came_s, latency_s=now_s - came_s, how=how))

    def _release(self, instance: Instance, now_s: float) -> None:
        """One that was told to go goes when it has answered all."""
        if instance.leaving and not instance.load:
            self.present.remove(instance)
            self.held_s += now_s - instance.created_s
