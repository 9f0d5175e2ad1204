"""One step of a rollout: the target takes over when it is up, and the old one goes when nobody routes to it."""

from forebay.rollout.state import Decision, RevisionState, RolloutState, WorkloadState

_NONE = WorkloadState(wanted=0, ready=0)


def decide(state: RolloutState) -> Decision:
    """Who gets the traffic now. The first revision gets it with its first instances, a later one when it is whole."""
    active = state.active
    if active is None or not _exists(state, active):
        active = state.target if _is_begun(state, state.target) else None
    elif active.name != state.target.name and _is_up(state, state.target):
        active = state.target
    keep = {*state.target.workloads, *(active.workloads if active else ())}
    # Until the gateway let go of what served before, all that is there stays: what it calls, too.
    return Decision(active=active, keep=frozenset(keep if _is_switched(state, active) else {*keep, *state.workloads}))


def _exists(state: RolloutState, revision: RevisionState) -> bool:
    """Whether a revision that served is still there: somebody may have deleted its workloads by hand."""
    return revision.name == state.target.name or all(name in state.workloads for name in revision.workloads)


def _is_begun(state: RolloutState, revision: RevisionState) -> bool:
    return all(state.workloads.get(name, _NONE).ready for name in revision.workloads)


def _is_up(state: RolloutState, revision: RevisionState) -> bool:
    return all(state.workloads.get(name, _NONE).is_up for name in revision.workloads)


def _is_switched(state: RolloutState, active: RevisionState | None) -> bool:
    """Whether nobody routes to another revision. A gateway that doesn't answer routes as it was told last."""
    gateway = state.gateway
    wanted = {active.entry} if active else set()
    nobody = not gateway.pods and not gateway.pending
    return nobody or (gateway.is_known and gateway.routed.keys() <= wanted)
