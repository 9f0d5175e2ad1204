"""How many held requests may be let go now, so that the bounded queues of the instances refuse none of them.

As many may be at the instances as these work on at once: in a queue they may wait for less long. Where Envoy is found
drained from one look to the next the instances are quicker than the looks, and twice as many may; where it stays full,
half as many. Never more than their queues take.
"""

import math
from collections import deque
from dataclasses import dataclass

# What was let go so long ago is in Envoy's counters, or its client left on the way.
_TRANSIT_S = 1.0
_QUICK_S = 0.1
_SLOW_S = 0.2


@dataclass(frozen=True)
class Counts:
    """What Envoy counts of a cluster: requests that it ever began to send there, and those not answered yet."""

    total: int
    active: int


@dataclass(frozen=True)
class Capacity:
    """How many requests a gateway may have at the instances: as many as they work on, and with those that wait."""

    floor: int
    ceiling: int


def share_capacity(*, slots: int, depth: int, instances: int, gateways: int) -> Capacity:
    """The part of one of so many gateways."""
    floor = max(1, math.ceil(slots * instances / gateways))
    return Capacity(floor=floor, ceiling=max(floor, (slots + depth) * instances // gateways))


class Pace:
    """The requests let go to one cluster."""

    def __init__(self) -> None:
        self._window = 0
        self._counted_from: int | None = None
        self._gone = 0
        self._recent: deque[tuple[float, int]] = deque()
        self._filled_s = -math.inf
        self._looked_s = math.inf
        self._drained_s = 0.0

    def look(self, now_s: float, counts: Counts, capacity: Capacity) -> int:
        """How many more may go."""
        if self._counted_from is None:
            self._counted_from, self._drained_s = counts.total, now_s
        in_flight = counts.active + self._count_transit(now_s, counts.total - self._counted_from)
        self._adapt(now_s, in_flight)
        self._looked_s = now_s
        self._window = min(max(self._window, capacity.floor), capacity.ceiling)
        return max(0, self._window - in_flight)

    def let_go(self, now_s: float, requests: int) -> None:
        """So many went."""
        self._gone += requests
        self._recent.append((now_s, requests))
        # As far as the window's size is concerned: who lets go of less has no more.
        self._filled_s = now_s

    def _count_transit(self, now_s: float, begun: int) -> int:
        """Those that Envoy has not begun to send yet."""
        while self._recent and self._recent[0][0] < now_s - _TRANSIT_S:
            self._recent.popleft()
        return max(0, min(self._gone - begun, sum(count for _, count in self._recent)))

    def _adapt(self, now_s: float, in_flight: int) -> None:
        if in_flight * 4 <= self._window:
            self._drained_s = now_s
            # The last look may be longer ago than that.
            if self._filled_s >= min(self._looked_s, now_s - _QUICK_S):
                self._window *= 2
        elif now_s - self._drained_s > _SLOW_S:
            self._drained_s = now_s
            self._window //= 2
