"""Counts cold starts, and for how long requests were held."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator

_BOUNDS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
# Deployments that are gone are forgotten in the end.
_REMEMBERED = 10_000


class Waits:
    """A histogram of times."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS_S) + 1)
        self.sum_s = 0.0

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def add(self, waited_s: float) -> None:
        """One more."""
        self._counts[bisect_left(_BOUNDS_S, waited_s)] += 1
        self.sum_s += waited_s

    def accumulate(self) -> Iterator[tuple[str, int]]:
        """How many were at most so long."""
        total = 0
        for bound, count in zip((*_BOUNDS_S, "+Inf"), self._counts, strict=True):
            total += count
            yield f"{bound}", total


class Tally:
    """By route, and what became of the requests: passed, refused, or left."""

    def __init__(self) -> None:
        self.starts: Counter[str] = Counter()
        self.waits: defaultdict[tuple[str, str], Waits] = defaultdict(Waits)

    def count_start(self, route: str) -> None:
        """A request came for one that is asleep."""
        self.starts[route] += 1
        while len(self.starts) > _REMEMBERED:
            oldest = next(iter(self.starts))
            del self.starts[oldest]
            for key in [key for key in self.waits if key[0] == oldest]:
                del self.waits[key]

    def count_wait(self, route: str, outcome: str, waited_s: float) -> None:
        """A request was held for so long."""
        self.waits[route, outcome].add(waited_s)
