"""What the load generator sends, when, and what its samples add up to: arithmetic only."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

# A schedule that is kept worse than this says more about the generator than about what it loads.
MAX_LAG_P99_MS = 3.0

GAVE_UP = 0
FAILED = -1
OK = 200
REFUSED = 429
TIMED_OUT = 504


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests to one place. With a `rate_per_s` arrivals are Poisson; with 0 each connection asks again and again."""

    host: str
    port: int
    path: str
    body: str
    seconds: float
    connections: int
    rate_per_s: float = 0.0
    patience_s: float = 10.0
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """One request: seconds after the start, seconds behind its schedule, seconds to the answer, and HTTP status.

    The status is GAVE_UP where the client's patience ended first, FAILED where the connection broke.
    """

    at_s: float
    lag_s: float
    latency_s: float
    status: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run came to. Good is an answer 200 within the client's patience."""

    offered_per_s: float
    good_per_s: float
    counts: dict[int, int]
    ok_p50_ms: float
    ok_p99_ms: float
    refusal_p50_ms: float
    refusal_p99_ms: float
    lag_p99_ms: float

    @property
    def valid(self) -> bool:
        """Whether the generator kept to its schedule."""
        return self.lag_p99_ms <= MAX_LAG_P99_MS


def build_schedule(*, rate_per_s: float, seconds: float, seed: int) -> list[float]:
    """Poisson arrivals: seconds after the start, ascending, all before `seconds`."""
    source = random.Random(seed)
    arrivals = []
    at = source.expovariate(rate_per_s)
    while at < seconds:
        arrivals.append(at)
        at += source.expovariate(rate_per_s)
    return arrivals


def percentile(values: Sequence[float], share_pct: float) -> float:
    """The smallest value that `share_pct` percent of all do not exceed (nearest rank); NaN of none."""
    if not values:
        return math.nan
    rank = math.ceil(len(values) * share_pct / 100)
    return sorted(values)[max(rank, 1) - 1]


def measure_rate(samples: Sequence[Sample], *, from_s: float, to_s: float) -> float:
    """Answers 200 per second, of those that came between two times after the start."""
    ends_s = [each.at_s + each.latency_s for each in samples if each.status == OK]
    return sum(from_s <= end_s < to_s for end_s in ends_s) / (to_s - from_s)


def summarize(samples: Sequence[Sample], load: Load) -> Summary:
    """Add up the samples of one load."""
    good = [each for each in samples if each.status == OK and each.latency_s <= load.patience_s]
    ok_ms = [each.latency_s * 1000 for each in samples if each.status == OK]
    refusal_ms = [each.latency_s * 1000 for each in samples if each.status == REFUSED]
    return Summary(
        offered_per_s=len(samples) / load.seconds,
        good_per_s=len(good) / load.seconds,
        counts=dict(Counter(each.status for each in samples)),
        ok_p50_ms=percentile(ok_ms, 50),
        ok_p99_ms=percentile(ok_ms, 99),
        refusal_p50_ms=percentile(refusal_ms, 50),
        refusal_p99_ms=percentile(refusal_ms, 99),
        lag_p99_ms=percentile([each.lag_s * 1000 for each in samples], 99),
    )
