"""A rollout by steps: each gives the new revision a share of the requests, and lasts for a time, or until a person lets
it go on. In a step of no share it can be asked by itself: that is all there is to a blue-green rollout.

A share changes only while the revision is up and the gateway gives everybody what was last wanted. A revision that goes
down has none from then on, and takes up its step anew when it is up again, and the time of the step as well.

In a step with a shadow it has no share, but copies, whose answers no client gets.

Where there is an analysis, no step is over before it passes. One that fails ends the rollout: the target gets no
requests any more, until somebody asks for another attempt, or wants it all the same. One that goes down again and again
fails as well: it would never stay up for as long as it takes to judge it by its requests, and cost some each time.
"""

import math
from dataclasses import replace

from forebay.plan.strategy import Step
from forebay.rollout.analysis.verdict import NOT_COUNTED, Outcome
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import RevisionState, RolloutState

_MOST_FALLS = 3
_MOST_PARTIAL_FALLS = 10
# As the status has it.
_COUNTED_FALLS = 1000


def is_by_steps(state: RolloutState) -> bool:
    """Whether the target doesn't take over at once when it is up."""
    strategy = state.strategy
    return bool(strategy.steps) or strategy.paused or strategy.aborted == state.target.name or is_failed(state)


def is_failed(state: RolloutState) -> bool:
    """Whether the target was found bad, and nobody wants it all the same."""
    known, name = state.progress, state.target.name
    if known is None or known.revision != name or known.phase is not Phase.FAILED:
        return False
    return not _is_wanted(state) and _find_attempt(state) <= known.attempt


def _is_wanted(state: RolloutState) -> bool:
    """Whether somebody wants the target whatever was found of it."""
    return state.strategy.promoted_fully and state.strategy.promoted == state.target.name


def with_attempt(state: RolloutState, progress: Progress | None) -> Progress | None:
    """The progress, and which attempt at the target this is."""
    return replace(progress, attempt=_find_attempt(state)) if progress else None


def _find_attempt(state: RolloutState) -> int:
    known, name = state.progress, state.target.name
    wanted = state.strategy.attempt if state.strategy.retried == name else 1
    return max(wanted, known.attempt if known and known.revision == name else 1)


def advance(state: RolloutState, active: RevisionState) -> Progress | None:
    """Where the rollout stands now; None: the target takes over."""
    return with_attempt(state, _count_falls(state, _advance(state, active)))


def _count_falls(state: RolloutState, progress: Progress | None) -> Progress | None:
    """The progress, with how often the target went down in its step, as a whole or in part; it has failed where that is
    too often for one to be judged.
    """
    known = state.progress
    if progress is None or known is None or known.revision != progress.revision or not known.is_live:
        return progress
    if progress.step > known.step:
        return progress
    here = replace(progress, falls=known.falls, partial_falls=known.partial_falls)
    if progress.phase is not Phase.DOWN or known.phase is Phase.DOWN:
        return here
    if _is_half_down(state):
        falls, most, whose = known.falls + 1, _MOST_FALLS, "its instances"
        here = replace(here, falls=min(falls, _COUNTED_FALLS))
    else:
        falls, most, whose = known.partial_falls + 1, _MOST_PARTIAL_FALLS, "some of its instances"
        here = replace(here, partial_falls=min(falls, _COUNTED_FALLS))
    is_judged = state.strategy.analysis and not _is_wanted(state)
    return _fail(here, f"{whose} went down {falls} times in this step") if is_judged and falls >= most else here


def _is_half_down(state: RolloutState) -> bool:
    """Whether no more than half of the instances are ready: of many one may crash now and then."""
    found = (state.find(name) for name in state.target.workloads)
    # A crash is seen before it is told of as not ready.
    return any(2 * min(each.ready, each.wanted - each.crashed) <= each.wanted for each in found)


def _advance(state: RolloutState, active: RevisionState) -> Progress | None:
    target, before = state.target, _read_before(state)
    if state.strategy.aborted == target.name:
        return Progress(revision=target.name, phase=Phase.ABORTED)
    if is_failed(state):
        return state.progress
    # Somebody may have taken steps out of the spec.
    step = min(before.step, len(state.strategy.steps))
    if step == 0:
        return _begin(state, active)
    if is_down(state, active):
        return Progress(revision=target.name, phase=Phase.DOWN, step=step)
    if before.phase is not Phase.DOWN and _is_same(before, state.strategy.steps[step - 1]):
        return _stay(state, active, replace(before, step=step))
    return _resume(state, active, replace(before, step=step, until_s=None))


def _is_same(here: Progress, step: Step) -> bool:
    return (here.weight_pct, here.shadow_pct) == (step.weight_pct, step.shadow_pct)


def is_up(state: RolloutState) -> bool:
    """Whether all instances of the target are ready."""
    return all(state.find(name).is_up for name in state.target.workloads)


def is_down(state: RolloutState, active: RevisionState) -> bool:
    """Whether the target answers no more. What it shares with the one that serves is no fault of its own."""
    own = [name for name in state.target.workloads if name not in active.workloads]
    return any(state.find(name).is_down for name in own)


def is_routed(state: RolloutState, active: RevisionState, weight_pct: int) -> bool:
    """Whether every pod of the gateway gives the target exactly this share, and the rest to the one that serves."""
    shares = {active.entry: 100 - weight_pct, state.target.entry: weight_pct}
    return state.gateway.is_known and state.gateway.weights_pct == {name: pct for name, pct in shares.items() if pct}


def is_seen(state: RolloutState, active: RevisionState, step: Progress | Step) -> bool:
    """Whether every pod of the gateway gives the target this share, or copies of it, and sends it who asks for it by
    name.
    """
    gateway, entry = state.gateway, state.target.entry
    is_known = bool(step.weight_pct) or gateway.routed.get(entry, 0) > 0
    is_copied = not step.shadow_pct or gateway.shadowed_pct.get(entry) == step.shadow_pct
    return is_known and is_copied and is_routed(state, active, step.weight_pct)


def _read_before(state: RolloutState) -> Progress:
    """Where it stood: before the first step where it was another revision's, or unwanted."""
    known = state.progress
    if known is None or known.revision != state.target.name or not known.is_live:
        return Progress(revision=state.target.name, phase=Phase.STARTING)
    return known


def _begin(state: RolloutState, active: RevisionState) -> Progress | None:
    """Before the first step: nobody is sent to it yet."""
    before = Progress(revision=state.target.name, phase=Phase.STARTING)
    if not is_up(state):
        return before
    if state.strategy.paused:
        return replace(before, phase=Phase.PAUSED)
    if not is_routed(state, active, 0):
        return replace(before, phase=Phase.ROUTING)
    return _go_on(state, active, before)


def _stay(state: RolloutState, active: RevisionState, here: Progress) -> Progress | None:
    """In a step, until it is over and the next one may come."""
    is_whole, since_s = is_seen(state, active, here), here.since_s
    if since_s is None:
        if not is_whole:
            return replace(here, phase=Phase.ROUTING)
        # As the status keeps it: in whole seconds, and never less than the whole pause.
        since_s = math.ceil(state.now_s)
    pause_s = state.strategy.steps[here.step - 1].pause_s
    until_s = None if pause_s is None else since_s + pause_s
    here = replace(here, since_s=since_s, until_s=until_s, verdict=None)
    if state.strategy.analysis and not _is_promoted(state, here):
        here = replace(here, verdict=state.verdict or NOT_COUNTED)
    if here.verdict and here.verdict.outcome is Outcome.FAILED:
        return _fail(here, here.verdict.message)
    phase = _find_hold(state, here, is_whole=is_whole)
    return replace(here, phase=phase) if phase else _go_on(state, active, here)


def _is_promoted(state: RolloutState, here: Progress) -> bool:
    return state.strategy.promoted == here.revision and here.step <= state.strategy.promoted_step


def _find_hold(state: RolloutState, here: Progress, *, is_whole: bool) -> Phase | None:
    """What a step waits for; None: it is over."""
    is_promoted, until_s = _is_promoted(state, here), here.until_s
    holds = {
        Phase.PAUSED: state.strategy.paused,
        Phase.WAITING: not is_promoted and until_s is None,
        Phase.RUNNING: not is_promoted and until_s is not None and state.now_s < until_s,
        Phase.ANALYZING: here.verdict is not None and here.verdict.outcome is not Outcome.PASSED,
        Phase.UNREADY: not is_up(state),
        Phase.ROUTING: not is_whole,
    }
    return next((phase for phase, is_so in holds.items() if is_so), None)


def _fail(here: Progress, message: str) -> Progress:
    """All requests go to the one that serves."""
    return replace(here, phase=Phase.FAILED, weight_pct=0, shadow_pct=0, since_s=None, until_s=None, message=message)


def _resume(state: RolloutState, active: RevisionState, before: Progress) -> Progress | None:
    """In a step whose share it hasn't: it was down, or somebody has changed the steps."""
    if not is_up(state):
        return replace(before, phase=Phase.UNREADY if before.weight_pct or before.shadow_pct else Phase.DOWN)
    if not is_routed(state, active, before.weight_pct):
        return replace(before, phase=Phase.ROUTING)
    return _enter(state, active, before.step)


def _go_on(state: RolloutState, active: RevisionState, before: Progress) -> Progress | None:
    """The next step that isn't promoted; None after the last."""
    strategy = state.strategy
    passed = strategy.promoted_step if strategy.promoted == state.target.name else 0
    step = max(before.step, passed) + 1
    return None if step > len(strategy.steps) else _enter(state, active, step)


def _enter(state: RolloutState, active: RevisionState, step: int) -> Progress | None:
    """The beginning of a step. Where it has no share nothing changes for the gateway, and nobody would look again."""
    wanted = state.strategy.steps[step - 1]
    here = Progress(
        revision=state.target.name,
        phase=Phase.ROUTING,
        step=step,
        weight_pct=wanted.weight_pct,
        shadow_pct=wanted.shadow_pct,
    )
    return here if wanted.weight_pct or wanted.shadow_pct else _stay(state, active, here)
