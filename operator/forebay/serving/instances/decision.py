"""How many instances of the model there are to be: decided from the requests at them, and from the time. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# How much of their slots is to be used: what comes while another instance is loaded finds room.
BUSY = 0.7
# A peak that lasts no longer is worked off by those that there are.
SURE_S = 2.0
# How long the first pause is waited for; each next one as long again as all before. A pause lasts until it was quiet
# for a moment, and no longer than this where requests take their time.
_FIRST_PAUSE_S = 3.0
_CALM_S = 0.3
_PAUSE_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The fewest and the most instances, the requests that each works on at once, and how long fewer must suffice."""

    least: int
    most: int
    concurrency: int
    cooldown_s: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Requests that the instances worked on or that waited for them, at a time."""

    at_s: float
    requests: int


def decide(samples: Sequence[Sample], current: int, limits: Limits, *, now_s: float) -> int:
    """The number of instances from now on. `samples` are those since it changed last, in the order of time."""
    wanted = current
    lasting = [each.requests for each in _find_since(samples, now_s - SURE_S)]
    calm = [each.requests for each in _find_since(samples, now_s - limits.cooldown_s)]
    if lasting and (more := _count_needed(min(lasting), limits)) > current:
        wanted = more
    elif calm and (fewer := _count_needed(max(calm), limits)) < current:
        wanted = fewer
    return max(limits.least, min(wanted, limits.most))


def _count_needed(requests: int, limits: Limits) -> int:
    return max(1, math.ceil(round(requests / (BUSY * limits.concurrency), 9)))


def _find_since(samples: Sequence[Sample], since_s: float) -> Sequence[Sample]:
    """Those since a time, from the one on that was true then; none where nobody had looked yet."""
    before = sum(each.at_s <= since_s for each in samples)
    return samples[before - 1 :] if before else ()


class Pauses:
    """When Triton is to get no more requests than it works on at the same time, while the number of instances changes.

    It ends a change when it has no request waiting: under load that is never, though the new instances work already.
    So it is given pauses, which are the less the longer it takes.
    """

    def __init__(self, *, at_once: bool) -> None:
        self._next_s = 0.0 if at_once else _FIRST_PAUSE_S
        self._began_s: float | None = None
        self._calm_since_s: float | None = None

    def look(self, elapsed_s: float, *, calm: bool) -> bool:
        """Whether there is a pause so long after the change began. `calm` is that no request waits inside Triton."""
        if self._began_s is None:
            if elapsed_s < self._next_s:
                return False
            self._began_s, self._calm_since_s = elapsed_s, None
        if not calm:
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = elapsed_s
        if elapsed_s - self._began_s >= _PAUSE_S or self._is_over(elapsed_s):
            self._began_s = None
            self._next_s = elapsed_s + max(_FIRST_PAUSE_S, elapsed_s)
            return False
        return True

    def _is_over(self, elapsed_s: float) -> bool:
        return self._calm_since_s is not None and elapsed_s - self._calm_since_s >= _CALM_S
