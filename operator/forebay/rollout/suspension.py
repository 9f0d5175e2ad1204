"""What becomes of a rollout while nobody is to run.

Who serves keeps its place before a target that has steps to go, that somebody holds, aborted, or that was found bad:
nobody gets all requests because a deployment was stopped and started. Any other target begins as a first one does, also
one that was to take the place of what served: there is no need for that to start once more.
"""

from collections.abc import Mapping
from dataclasses import replace

from forebay.plan.strategy import Way
from forebay.rollout.canary import is_by_steps, with_attempt
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.recreate import is_held
from forebay.rollout.state import RevisionState, RolloutState


def keeps_place(state: RolloutState, active: RevisionState) -> bool:
    """Whether who serves is to do so when somebody starts it again."""
    if _find_refusal(state):
        return True
    is_due = state.strategy.paused or (is_by_steps(state) and state.strategy.way is not Way.RECREATE)
    # Of a spec that changes while nobody runs the one before is over. What sleeps has no instance, either.
    is_known = state.progress is not None and state.progress.revision == state.target.name
    return is_due and not is_held(state) and (is_known or any(_count_instances(state, active).values()))


def stop(state: RolloutState, active: RevisionState) -> Progress | None:
    """Where the rollout stands meanwhile, with as many instances as the one that serves is to have again."""
    known, instances = state.progress, _count_instances(state, active)
    if known is None and not any(instances.values()):
        instances = dict.fromkeys(instances, 1)
    if known and _find_refusal(state) is Phase.FAILED:
        return replace(known, phase=Phase.FAILED, held_s=None, since_s=None, until_s=None, instances=instances)
    phase = _find_refusal(state) or (Phase.PAUSED if state.strategy.paused else Phase.STARTING)
    return with_attempt(state, Progress(revision=state.target.name, phase=phase, instances=instances))


def _count_instances(state: RolloutState, active: RevisionState) -> dict[str, int]:
    """Those that it has, or had before."""
    before = state.progress.instances if state.progress else {}
    # What it shares with the target, too: there may be another by then.
    return {name: state.find(name).wanted or before.get(name, 0) for name in active.workloads}


def _find_refusal(state: RolloutState) -> Phase | None:
    """Why the target gets no requests. Whoever asks for another attempt meanwhile is heard when it starts again."""
    known, name = state.progress, state.target.name
    if state.strategy.aborted == name:
        return Phase.ABORTED
    is_refused = known is not None and known.revision == name and not known.is_live
    return known.phase if known and is_refused else None


def find_missing(state: RolloutState) -> Mapping[str, int]:
    """The workloads that were stopped, and are to have instances again."""
    known = state.progress
    if state.suspended or known is None or known.held_s is not None:
        return {}
    return {name: number for name, number in known.instances.items() if number and not state.find(name).wanted}
