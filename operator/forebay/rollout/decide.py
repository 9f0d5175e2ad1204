"""One look at a rollout: the target takes over when it is up, at once or step by step, and the old one goes when nobody
routes to it, or some time later.
"""

from collections.abc import Mapping, Set
from dataclasses import replace

from forebay.plan.strategy import Way
from forebay.rollout import recreate, suspension
from forebay.rollout.canary import advance, is_by_steps, is_up
from forebay.rollout.progress import Progress
from forebay.rollout.state import Decision, RevisionState, RolloutState
from forebay.rollout.warm import choose_warm, find_end_s, is_back, skip_steps


def decide(state: RolloutState) -> Decision:
    """Who gets the traffic now. The first revision gets it with its first instances, a later one when it is whole, or
    step by step.
    """
    target, progress, active = state.target, None, _find_active(state)
    state = skip_steps(state) if is_back(state) else state
    if active and active.name != target.name:
        progress = suspension.stop(state, active) if state.suspended else _advance(state, active)
        active = target if progress is None and is_up(state) else active
        progress = _remember(state, progress)
    elif active and recreate.is_held(state):
        progress = recreate.turn_back(state, active)
    warm = choose_warm(state, active)
    revisions = (target, active, warm.revision if warm else None)
    keep = {name for each in revisions if each for name in each.workloads}
    is_switched = _is_switched(state, active, progress)
    if not is_switched:
        # Until the gateway let go of what served before, all that is there stays: what it calls, too.
        keep |= state.workloads.keys()
    ended, restored = _find_numbers(state, active, progress, is_switched=is_switched)
    asked = _find_asked(state, keep - ended)
    return Decision(
        active=active,
        keep=frozenset(keep | asked),
        target=target,
        progress=progress,
        ended=ended - asked,
        restored=restored,
        warm=warm,
        warm_until_s=find_end_s(state, warm),
    )


def _advance(state: RolloutState, active: RevisionState) -> Progress | None:
    """How far the rollout is; None where the target takes over when it is up, of which there is no more to tell."""
    if _is_recreated(state):
        return recreate.advance(state, active)
    return advance(state, active) if is_by_steps(state) else None


def _remember(state: RolloutState, progress: Progress | None) -> Progress | None:
    """With the instances that are still to come back after a suspension, where none are to after requests were held."""
    if progress is None or progress.held_s is not None or state.suspended:
        return progress
    return replace(progress, instances=suspension.find_missing(state))


def _is_recreated(state: RolloutState) -> bool:
    """Whether one revision takes the other's place; it does so to the end, whatever is written meanwhile."""
    return state.strategy.way is Way.RECREATE or recreate.is_held(state)


def _find_numbers(
    state: RolloutState, active: RevisionState | None, progress: Progress | None, *, is_switched: bool
) -> tuple[frozenset[str], Mapping[str, int]]:
    """The workloads that are to have no instances, and those that are to have some again."""
    missing = {name: number for name, number in suspension.find_missing(state).items() if _serves(active, name)}
    if active is None or progress is None:
        return frozenset(), missing
    if state.suspended:
        return frozenset({*state.workloads, *state.target.workloads}), {}
    if progress.held_s is not None or (progress.is_live and _is_recreated(state)):
        restored = recreate.find_restored(state, active, progress)
        return recreate.find_ended(state, active, progress), {**missing, **restored}
    return frozenset() if progress.is_live else _find_ended(state, active, is_switched), missing


def _serves(active: RevisionState | None, name: str) -> bool:
    return active is not None and name in active.workloads


def _find_active(state: RolloutState) -> RevisionState | None:
    """Who serves so far, or may begin to as the first."""
    active = state.active
    if active is not None and not _exists(state, active):
        active = None
    if state.suspended:
        keeps = active and (active.name == state.target.name or suspension.keeps_place(state, active))
        return active if keeps else None
    if active is None:
        return state.target if _is_begun(state, state.target) else None
    return active


def _exists(state: RolloutState, revision: RevisionState) -> bool:
    """Whether a revision that served is still there: somebody may have deleted its workloads by hand."""
    return revision.name == state.target.name or all(name in state.workloads for name in revision.workloads)


def _is_begun(state: RolloutState, revision: RevisionState) -> bool:
    return all(state.find(name).ready for name in revision.workloads)


def _is_switched(state: RolloutState, active: RevisionState | None, progress: Progress | None) -> bool:
    """Whether nobody routes to another revision. A gateway that doesn't answer routes as it was told last."""
    gateway, before = state.gateway, state.progress
    # It may be asked by itself before it has a share.
    shared = state.target if progress and progress.is_live else None
    wanted = {each.entry for each in (active, shared) if each}
    if gateway.is_absent:
        return True
    if before and before.weight_pct and before.revision not in (each.name for each in (active, shared) if each):
        # The gateway may not have heard yet that it was to have a share.
        return False
    return gateway.is_known and gateway.generation >= state.generation and gateway.routed.keys() <= wanted


def _find_ended(state: RolloutState, active: RevisionState | None, is_switched: bool) -> frozenset[str]:
    """The workloads of an unwanted target that are to have no instance: none that still gets requests."""
    own = {*state.target.workloads} - {*(active.workloads if active else ())}
    return frozenset(name for name in own if is_switched or not state.find(name).wanted)


def _find_asked(state: RolloutState, staying: Set[str]) -> frozenset[str]:
    """The predictors that have instances, while a transformer that goes has a pod: requests in its queue are yet to ask
    one of them.
    """
    if all(name in staying for name, pods in state.transformers.items() if pods):
        return frozenset()
    found = (name for name, each in state.workloads.items() if each.wanted)
    return frozenset(name for name in found if name not in state.transformers)
