"""The revision that served before: its instances are kept for a while, for a spec that goes back to it."""

import math
from dataclasses import replace

from forebay.plan.strategy import Way
from forebay.rollout.state import RevisionState, RolloutState, Warm


def is_back(state: RolloutState) -> bool:
    """Whether the spec has gone back to what served before, and is there still: it was looked at enough."""
    return state.warm is not None and state.warm.revision.name == state.target.name and _is_there(state, state.warm)


def skip_steps(state: RolloutState) -> RolloutState:
    """As if there were no steps."""
    return replace(state, strategy=replace(state.strategy, way=Way.WHOLE, steps=()))


def choose_warm(state: RolloutState, active: RevisionState | None) -> Warm | None:
    """Who is kept, where `active` serves from now on."""
    before, known = state.active, state.warm
    if active is None or state.suspended:
        return None
    if before is not None and before.name != active.name:
        # What somebody went back from is no place to go back to.
        is_kept = state.strategy.warm_s > 0 and not is_back(state)
        # As the status keeps it: in whole seconds.
        made = Warm(revision=before, since_s=math.ceil(state.now_s))
        return made if is_kept and _is_there(state, made) else None
    if known is None or known.revision.name == active.name or not _is_there(state, known):
        return None
    if is_back(state):
        return known
    # A third revision needs its room.
    is_over = state.target.name != active.name or state.now_s >= known.since_s + state.strategy.warm_s
    return None if is_over else known


def find_end_s(state: RolloutState, warm: Warm | None) -> float:
    """Till when it is kept; infinite where it is to serve again."""
    return math.inf if warm is None or is_back(state) else warm.since_s + state.strategy.warm_s


def _is_there(state: RolloutState, warm: Warm) -> bool:
    """Whether nobody has deleted any of its workloads."""
    return all(name in state.workloads for name in warm.revision.workloads)
