"""When nobody needs a ModelDeployment, and what it takes to have it awake as a whole.

Asleep is a revision of whose workloads none is to have an instance. That is read from the Deployments alone: whoever
raises one of them wakes it, with the operator or without.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

_SHORTEST_S, _LONGEST_S = 1.0, 15.0
# So often it is looked at in the time that it takes to fall asleep.
_LOOKS = 5


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many instances a workload is to have, and how many while it is awake: at least, or, `fixed`, exactly."""

    wanted: int
    least: int
    fixed: bool = False


@dataclass(frozen=True, kw_only=True)
class Vigil:
    """Since when something is awake and whole, and how long nobody must have needed it before it sleeps."""

    since_s: float
    idle_s: float


def is_asleep(sizes: Collection[Size]) -> bool:
    """Whether a revision sleeps, by all its workloads."""
    return bool(sizes) and not any(each.wanted for each in sizes)


def is_idle(ages_s: Sequence[float | None], vigil: Vigil, *, now_s: float) -> bool:
    """Whether it may fall asleep. `ages_s` are, of each pod of the gateway, the seconds since it had a request; None
    is one that doesn't know, for which there may be one right now.
    """
    known = [each for each in ages_s if each is not None]
    if not known or len(known) < len(ages_s):
        return False
    return min(*known, now_s - vigil.since_s) >= vigil.idle_s


def raise_all(sizes: Mapping[str, Size], *, wakes: bool) -> dict[str, int]:
    """The workloads of what is awake that have too few instances, or not as many as they are fixed to, and the number
    that each is to have. With `wakes` it has slept till now: whoever woke it knew of no more than one instance each.
    """
    return {
        name: size.least
        for name, size in sizes.items()
        if (size.fixed and size.wanted != size.least) or size.wanted < (size.least if wakes else 1)
    }


def choose_period_s(idle_s: Iterable[float]) -> float:
    """How often the gateway is asked while these may fall asleep."""
    return min(_LONGEST_S, max(_SHORTEST_S, min(idle_s, default=_LOOKS * _LONGEST_S) / _LOOKS))
