"""What the gateway counted: cumulative in each of its pods, and what is new since it was asked last."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import floor, log10

# Of a time in milliseconds: how many answers took so long, to two digits.
Times = Mapping[float, int]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Requests to one revision. Those that timed out are errors, too; `times` are of all that were answered.

    Of copies they are those that were compared, and `differed` the ones whose answers don't agree.
    """

    requests: int = 0
    errors: int = 0
    timeouts: int = 0
    refusals: int = 0
    differed: int = 0
    times: Times = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """How many have a time."""
        return sum(self.times.values())

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            timeouts=self.timeouts + other.timeouts,
            refusals=self.refusals + other.refusals,
            differed=self.differed + other.differed,
            times=add_times(self.times, other.times),
        )

    def since(self, before: "Tally") -> "Tally":
        """What came after. Envoy forgets counters that nobody used for hours: none is ever negative."""
        left = {time_ms: count - before.times.get(time_ms, 0) for time_ms, count in self.times.items()}
        return Tally(
            requests=max(0, self.requests - before.requests),
            errors=max(0, self.errors - before.errors),
            timeouts=max(0, self.timeouts - before.timeouts),
            refusals=max(0, self.refusals - before.refusals),
            differed=max(0, self.differed - before.differed),
            times={time_ms: count for time_ms, count in left.items() if count > 0},
        )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All that one pod of the gateway has counted since its Envoy began, by the entry workload of a revision."""

    uptime_s: float
    tallies: Mapping[str, Tally]

    def find(self, workload: str) -> Tally:
        """That of one revision."""
        return self.tallies.get(workload, Tally())


def name_compared(workload: str) -> str:
    """By what the answers are found that clients got, where a workload got copies. No workload is called so."""
    return f"{workload}~compared"


def find_since(after: Reading, before: Reading | None, workload: str, *, followed_s: float) -> Tally:
    """What a pod counted of a revision since it was asked last; all of it where its Envoy began meanwhile, and nothing
    where it is asked for the first time, but is older than the `followed_s` for which somebody asks.
    """
    found = after.find(workload)
    if before is None:
        return found if after.uptime_s < followed_s else Tally()
    return found if after.uptime_s < before.uptime_s else found.since(before.find(workload))


def add_times(*some: Times) -> Times:
    """All of them."""
    total: Counter[float] = Counter()
    for each in some:
        total.update(each)
    return total


def add_all(tallies: Iterable[Tally]) -> Tally:
    """All of them."""
    total = Tally()
    for each in tallies:
        total = total.plus(each)
    return total


def count_slower(times: Times, limit_ms: float) -> int:
    """How many surely took longer."""
    return sum(count for time_ms, count in times.items() if time_ms > limit_ms)


def find_percentile_ms(times: Times, percentile: float) -> float:
    """The time that so many percent of the answers stayed below; 0 of none."""
    wanted, seen = sum(times.values()) * percentile / 100, 0
    for time_ms in sorted(times):
        seen += times[time_ms]
        if seen >= wanted:
            return time_ms + _measure_width_ms(time_ms)
    return 0.0


def _measure_width_ms(time_ms: float) -> float:
    """Envoy keeps whole milliseconds, in buckets of two digits, by their lower ends."""
    return max(1.0, 10.0 ** (floor(log10(time_ms)) - 1)) if time_ms >= 1 else 1.0
