"""A rollout where two revisions never run at once: the gateway holds the requests, the instances that serve end, with
what is in flight answered, then those of the target start, and the requests go on to them.

Whoever isn't up in time, was aborted or turned back from, makes room in the same way for the one that served.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from forebay.rollout.canary import is_failed, is_up, with_attempt
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import RevisionState, RolloutState

# The one that serves may have ended.
_AFTER = (Phase.ENDING, Phase.STARTING, Phase.ROUTING)


def is_held(state: RolloutState) -> bool:
    """Whether requests are held, for this target or for one before."""
    return state.progress is not None and state.progress.held_s is not None


def advance(state: RolloutState, active: RevisionState) -> Progress | None:
    """Where the rollout stands now; None: the target takes over."""
    return with_attempt(state, _advance(state, active))


def _advance(state: RolloutState, active: RevisionState) -> Progress | None:
    target, strategy = state.target.name, state.strategy
    here = _read_before(state)
    if strategy.aborted == target:
        return _go_back(state, active, replace(here, phase=Phase.ABORTED))
    if is_failed(state):
        return _go_back(state, active, here)
    if here.held_s is None:
        return _begin(state, here)
    here = _note_times(state, here)
    if message := _find_failure(state, here):
        return _go_back(state, active, replace(here, phase=Phase.FAILED, message=message))
    if here.phase not in _AFTER and not _is_on_hold(state, here):
        return replace(here, phase=Phase.HOLDING)
    return _replace_old(state, active, _note_times(state, replace(here, phase=Phase.ENDING)))


def turn_back(state: RolloutState, active: RevisionState) -> Progress | None:
    """Where it stands when the spec has gone back to what served; None: it serves again."""
    known = state.progress
    if known is None or _is_back(state, active, known):
        return None
    phase = Phase.ENDING if is_occupied(state, active) else Phase.STARTING
    return Progress(revision=active.name, phase=phase, held_s=known.held_s, instances=known.instances)


def find_ended(state: RolloutState, active: RevisionState, progress: Progress) -> frozenset[str]:
    """The workloads that are to have no instance now: all but those of whoever has its turn, and of these those that it
    shares with who serves alone, until the others are gone.
    """
    runs = active if _is_turned(progress, active) else state.target
    known = {*state.workloads, *state.target.workloads}
    if progress.phase in (Phase.HOLDING, Phase.PAUSED):
        # One that has instances has requests, perhaps: it was to take over in another way.
        return frozenset(name for name in known - set(active.workloads) if not state.find(name).wanted)
    allowed = set(runs.workloads)
    if is_occupied(state, runs):
        allowed &= set(active.workloads) - set(progress.instances)
    return frozenset(known - allowed)


def find_restored(state: RolloutState, active: RevisionState, progress: Progress) -> Mapping[str, int]:
    """The workloads of who serves that are to have as many instances as before."""
    if not _is_turned(progress, active) or is_occupied(state, active):
        return {}
    return {name: number for name, number in progress.instances.items() if name in active.workloads}


def is_occupied(state: RolloutState, runs: RevisionState) -> bool:
    """Whether another than this one has instances, or may have: ones that are about to end, too."""
    pods = any(number for name, number in state.pods.items() if name not in runs.workloads)
    others = (each for name, each in state.workloads.items() if name not in runs.workloads)
    return pods or any(not each.is_gone for each in others)


def _is_turned(progress: Progress, active: RevisionState) -> bool:
    return not progress.is_live or progress.revision == active.name


def _read_before(state: RolloutState) -> Progress:
    """Where it stood. Another target than before goes on where that one was: requests are held for it, then."""
    known, target = state.progress, state.target.name
    if known is not None and is_failed(state):
        return known
    if known is None or known.held_s is None:
        return Progress(revision=target, phase=Phase.STARTING)
    if known.revision == target and known.phase in (*_AFTER, Phase.HOLDING):
        return known
    # Its time begins anew. Who served may have ended, and be on its way back.
    phase = Phase.ENDING if known.instances else Phase.HOLDING
    return replace(known, revision=target, phase=phase, since_s=None, message="")


def _begin(state: RolloutState, here: Progress) -> Progress:
    if state.strategy.paused:
        return replace(here, phase=Phase.PAUSED)
    if not state.gateway.is_absent and not state.gateway.is_known:
        # Requests would wait for the answer of a pod that gives none.
        return replace(here, phase=Phase.HOLDING)
    # As the status keeps it: in whole seconds.
    now_s = math.ceil(state.now_s)
    return _note_times(state, replace(here, phase=Phase.HOLDING, held_s=now_s, since_s=now_s))


def _note_times(state: RolloutState, here: Progress) -> Progress:
    since_s = math.ceil(state.now_s) if here.since_s is None else here.since_s
    if here.phase is Phase.HOLDING:
        return replace(here, since_s=since_s, until_s=since_s + state.strategy.hold_s)
    is_limited = state.strategy.promoted != here.revision
    return replace(here, since_s=since_s, until_s=since_s + state.strategy.deadline_s if is_limited else None)


def _find_failure(state: RolloutState, here: Progress) -> str:
    """Why it is too late, if it is."""
    if here.phase is Phase.HOLDING:
        is_late = is_impatient(state, here) and not _is_on_hold(state, here)
        return "not every pod of the gateway held its requests in time" if is_late else ""
    if here.until_s is None or state.now_s < here.until_s or is_up(state):
        return ""
    found = sum(state.find(name).ready for name in state.target.workloads)
    wanted = sum(max(1, state.find(name).wanted) for name in state.target.workloads)
    return f"{found} of its {wanted} instances were ready within {state.strategy.deadline_s:g} s"


def _is_on_hold(state: RolloutState, here: Progress) -> bool:
    """Whether every pod of the gateway holds requests: since this time, and not still since an earlier one."""
    gateway = state.gateway
    return gateway.is_absent or (gateway.is_known and gateway.held_s == here.held_s)


def _replace_old(state: RolloutState, active: RevisionState, here: Progress) -> Progress | None:
    """Requests are held: one ends, then the other starts."""
    own = [name for name in active.workloads if name not in state.target.workloads]
    counts = {name: state.find(name).wanted for name in own if name not in here.instances}
    here = replace(here, instances={**counts, **here.instances})
    if is_occupied(state, state.target):
        return replace(here, phase=Phase.ENDING)
    if not is_up(state):
        return replace(here, phase=Phase.STARTING)
    return None if _leads_to(state, state.target, here) else replace(here, phase=Phase.ROUTING)


def _go_back(state: RolloutState, active: RevisionState, here: Progress) -> Progress:
    """The one that served comes back; when it has, requests are held no more."""
    if here.held_s is None or not _is_back(state, active, here):
        return replace(here, since_s=None, until_s=None)
    return Progress(revision=here.revision, phase=here.phase, message=here.message)


def _is_back(state: RolloutState, active: RevisionState, known: Progress) -> bool:
    """Whether who served has its instances again, and no other has any. One that slept sleeps on."""
    wanted = [state.find(name) for name in active.workloads if known.instances.get(name, 1)]
    # Requests that are refused are no better than those that wait for one instance of many.
    are_up = all(each.is_up or (each.ready and is_impatient(state, known)) for each in wanted)
    return are_up and not is_occupied(state, active) and (not wanted or _leads_to(state, active, known))


def is_impatient(state: RolloutState, known: Progress) -> bool:
    """Whether requests have been held for as long as one may be."""
    return known.held_s is not None and state.now_s >= known.held_s + state.strategy.hold_s


def _leads_to(state: RolloutState, revision: RevisionState, known: Progress) -> bool:
    """Whether every pod of the gateway knows its instances: one that is silent isn't waited for without end."""
    gateway = state.gateway
    if gateway.is_absent:
        return True
    is_enough = gateway.is_known or (not gateway.pending and is_impatient(state, known))
    return is_enough and gateway.routed.get(revision.entry, 0) > 0
