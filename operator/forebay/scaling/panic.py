"""A step of load does not wait for the autoscaler's next look: the floor that it may not go below, and until when.

As Knative's autoscaler does it: when twice the load that the instances are to have is there, as many as it asks for are
made at once, and stay for a stable window. The floor only ever raises. To go down again is left to the autoscaler.
Source: https://github.com/knative/serving/blob/main/docs/scaling/SYSTEM.md
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

# So many times the target is no noise of a steady load any more.
RATIO = 2.0
# What lasts no longer is worked off by the queue. A second of a clock that isn't quite steady.
_SURE_S = 0.9
# A sample that is older says nothing of now.
_FRESH_S = 3.0
# The floor stays so long after it was needed last. It is written with the slack, so that one that is needed on and on
# is written again once in this time, and not every second.
STABLE_S = 60.0
_SLACK_S = 30.0
# While the floor holds it follows the load up, but not its noise: what a HorizontalPodAutoscaler ignores, too.
_TOLERANCE = 0.1
# A cloud brings a node with a GPU within minutes, or has none.
_GPU_S = 900.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Requests at all instances of a workload, at a time: those they work on, and those that wait."""

    at_s: float
    requests: int


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The instances that are wanted now, those on their way included, and how many are ready; the most there may be,
    and the requests that each is to have.
    """

    wanted: int
    ready: int
    most: int
    target: float


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The fewest instances until a time, and why."""

    instances: int
    until_s: float
    reason: str


def is_hot(requests: float, fleet: Fleet, floor: Floor | None) -> bool:
    """Whether so many requests to the whole ModelDeployment, of which no workload has more, could change anything."""
    least = floor.instances - 1 if floor else RATIO * fleet.wanted
    return fleet.wanted > 0 and requests >= fleet.target * least


def decide(samples: Sequence[Sample], fleet: Fleet, floor: Floor | None, *, now_s: float) -> Floor | None:
    """The floor from now on: a new one, the one there is, or none. `samples` are in the order of time."""
    held = floor if floor and now_s < floor.until_s else None
    requests = _find_lasting(samples, now_s)
    if requests is None or fleet.wanted < 1:
        return held
    needed = min(math.ceil(requests / fleet.target), fleet.most)
    if _is_short(requests, fleet, held) and needed > fleet.wanted:
        return Floor(instances=needed, until_s=now_s + STABLE_S + _SLACK_S, reason=_explain(requests, fleet, needed))
    if held and needed >= held.instances and held.until_s < now_s + STABLE_S:
        return replace(held, until_s=now_s + STABLE_S + _SLACK_S)
    return held


def spare(waiting_since_s: Iterable[float], fleet: Fleet, *, now_s: float) -> Floor | None:
    """The floor while instances wait for a GPU, since when each does: to take them back when the node is almost there
    would only have it brought again. One that doesn't come is not waited for for ever.
    """
    until_s = [since_s + _GPU_S for since_s in waiting_since_s if now_s < since_s + _GPU_S]
    if not until_s or fleet.wanted < 1:
        return None
    count = f"{len(until_s)} of {fleet.wanted} instances {'waits' if len(until_s) == 1 else 'wait'}"
    return Floor(instances=fleet.wanted, until_s=max(until_s), reason=f"{count} for a GPU")


def _find_lasting(samples: Sequence[Sample], now_s: float) -> int | None:
    """The requests that were there all the time; None where it isn't known for long enough."""
    fresh = [each for each in samples if now_s - each.at_s <= _FRESH_S]
    last = next((index for index, each in enumerate(reversed(fresh), 1) if now_s - each.at_s >= _SURE_S), 0)
    # From the latest that is old enough on: what was before is of another load.
    return min((each.requests for each in fresh[-last:]), default=None) if last else None


def _is_short(requests: int, fleet: Fleet, held: Floor | None) -> bool:
    """Whether more are to be made. While those that were asked for start, what waits for them is no reason to ask
    again, unless it is twice what they will take.
    """
    capacity = fleet.target * fleet.wanted
    settled = held is not None and fleet.ready >= fleet.wanted
    return requests > capacity * (1 + _TOLERANCE) if settled else requests >= capacity * RATIO


def _explain(requests: int, fleet: Fleet, needed: int) -> str:
    each = requests / fleet.wanted
    return f"{fleet.wanted} → {needed}: {each:.3g} requests at each, target {fleet.target:.3g}"
