"""How far a rollout is, in the status, in words, and as Events."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from forebay.api.status import AnalysisStatus, RolloutStatus, WarmRevision
from forebay.observation import Observation, Reason, Trouble
from forebay.plan.strategy import Way
from forebay.rollout.analysis.verdict import Verdict
from forebay.rollout.progress import Phase, Progress
from forebay.status.conditions import READY, find_previous, write_time
from forebay.status.events import Event
from forebay.status.lines import cut
from forebay.status.replacement import explain_replacement

# What is wrong with its instances says more.
_BY_INSTANCES = (Phase.STARTING, Phase.UNREADY, Phase.DOWN)
_LONGEST = 1024


def build_rollout(observation: Observation) -> RolloutStatus | None:
    """As the status tells of it."""
    progress, gateway = observation.decision.progress, observation.gateway
    if progress is None:
        return None
    preview = observation.decision.preview
    return RolloutStatus(
        revision=progress.revision,
        phase=progress.phase.value,
        step=progress.step,
        steps=len(observation.serving.strategy.steps),
        weight_pct=progress.weight_pct,
        shadow_pct=progress.shadow_pct,
        routed_pct=gateway.weights_pct.get(observation.target.entry.name, 0) if gateway.answered else None,
        since=_write(progress.since_s),
        until=_write(progress.until_s),
        held_since=_write(progress.held_s),
        instances_before=dict(progress.instances),
        attempt=progress.attempt,
        falls=progress.falls,
        partial_falls=progress.partial_falls,
        message=cut(progress.message, _LONGEST),
        analysis=_build_analysis(progress.verdict) if progress.verdict else None,
        workload=preview.entry if preview else "",
        preview=observation.preview_url if preview else "",
    )


def build_warm(observation: Observation) -> WarmRevision | None:
    """As the status tells of the revision before."""
    warm, until_s = observation.decision.warm, observation.decision.warm_until_s
    if warm is None:
        return None
    return WarmRevision(
        revision=warm.revision.name,
        workloads=list(warm.revision.workloads),
        since=_write(warm.since_s),
        until=_write(until_s) if math.isfinite(until_s) else "",
    )


def _build_analysis(verdict: Verdict) -> AnalysisStatus:
    return AnalysisStatus(
        verdict=verdict.outcome.value,
        message=cut(verdict.message, _LONGEST),
        requests=verdict.requests,
        stable_requests=verdict.stable_requests,
    )


def find_end(observation: Observation) -> Trouble | None:
    """Why the target gets no requests, and won't by itself: somebody doesn't want it, or it was found bad."""
    progress = observation.decision.progress
    if progress and progress.phase is Phase.FAILED:
        return _describe_failure(observation, progress)
    return _describe_abort(observation) if progress and progress.phase is Phase.ABORTED else None


def describe_rollout(observation: Observation, *, whole: bool) -> Trouble | None:
    """What the rollout waits for. Of one that isn't `whole` only what its instances don't say."""
    progress = observation.decision.progress
    if progress is None or (not whole and progress.phase in _BY_INSTANCES):
        return None
    how, reason = _explain(observation, progress), Reason.ROLLING_OUT
    if progress.phase in (Phase.PAUSED, Phase.WAITING):
        reason = Reason.ROLLOUT_PAUSED
    return Trouble(reason=reason, message=f"{_describe_step(observation, progress)}{how}")


def _describe_failure(observation: Observation, progress: Progress) -> Trouble:
    again = f"{{revision: {progress.revision}, attempt: {progress.attempt + 1}}}"
    how = f"`forebay retry{_address(observation)}` tries it again, as spec.rollout.retry: {again} does"
    if progress.verdict is None:
        how += f", and spec.rollout.promote: {{revision: {progress.revision}}} without a limit"
    message = f"{progress.message}. It gets no requests: change the spec; {how}"
    reason = Reason.ANALYSIS_FAILED if progress.verdict else Reason.ROLLOUT_FAILED
    return Trouble(reason=reason, message=message, stalled=True)


def _describe_abort(observation: Observation) -> Trouble:
    """That it was aborted, and what to do."""
    message = (
        "it gets no requests, as spec.rollout.abort says: change the spec, or take that field away to try it again, "
        f"as `forebay resume{_address(observation)}` does"
    )
    return Trouble(reason=Reason.ROLLOUT_ABORTED, message=message, stalled=True)


def _describe_step(observation: Observation, progress: Progress) -> str:
    steps = len(observation.serving.strategy.steps)
    if progress.step == 0 or _is_shown(observation):
        return ""
    return f"step {progress.step} of {steps}: "


def _explain(observation: Observation, progress: Progress) -> str:
    if _is_shown(observation) and progress.step and progress.is_live:
        return _explain_preview(observation, progress)
    if (progress.held_s is not None and progress.is_live) or progress.phase is Phase.HOLDING:
        return explain_replacement(observation, progress, _doubt(observation))
    share = f"{progress.weight_pct} % of the requests go to it" if progress.weight_pct else "no requests go to it yet"
    if progress.shadow_pct:
        share = f"{progress.shadow_pct} % of the requests are copied to it, and no client gets its answers"
    follows = "the next step" if progress.step < len(observation.serving.strategy.steps) else "all of them"
    name = _address(observation)
    promote = f"{{revision: {progress.revision}, step: {progress.step}}}"
    routing = f"the gateway is about to send it {progress.weight_pct} % of the requests{_doubt(observation)}"
    if progress.shadow_pct:
        routing = f"the gateway is about to copy {progress.shadow_pct} % of the requests to it{_doubt(observation)}"
    elif not progress.weight_pct:
        routing = f"all its instances are ready; the gateway is about to let go of what was before{_doubt(observation)}"
    return {
        Phase.STARTING: "its instances are being started",
        Phase.ROUTING: routing,
        Phase.RUNNING: f"{share}, {follows} from {_write(progress.until_s)} on",
        Phase.WAITING: f"{share}, until `forebay promote{name}` lets it go on, or spec.rollout.promote: {promote}",
        Phase.ANALYZING: f"{share}, {follows} when its analysis passes: {_tell_verdict(progress)}",
        Phase.PAUSED: f"{share}, and spec.rollout.paused holds it: `forebay resume{name}` lets it go on",
        Phase.UNREADY: f"{share}; {follows} when all its instances are ready",
        Phase.DOWN: "it isn't up any more, and gets no requests until it is",
        Phase.ABORTED: _describe_abort(observation).message,
        Phase.FAILED: progress.message,
    }[progress.phase]


def _is_shown(observation: Observation) -> bool:
    """Whether the one step is for people to look at it."""
    return observation.serving.strategy.way is Way.BLUE_GREEN


def _explain_preview(observation: Observation, progress: Progress) -> str:
    name, seen = _address(observation), f"{observation.preview_url} leads to it"
    promote = f"spec.rollout.promote: {{revision: {progress.revision}}}"
    return {
        Phase.ROUTING: f"all its instances are ready; the gateway is about to follow{_doubt(observation)}",
        Phase.RUNNING: f"{seen}, and it takes over from {_write(progress.until_s)} on",
        Phase.WAITING: f"{seen}; it takes over when `forebay promote{name}` lets it, or {promote}",
        Phase.PAUSED: f"{seen}, and spec.rollout.paused holds it: `forebay resume{name}` lets it go on",
        Phase.UNREADY: f"{seen}; it takes over when all its instances are ready",
        Phase.DOWN: "it isn't up any more, and can't be looked at until it is",
    }[progress.phase]


def _tell_verdict(progress: Progress) -> str:
    return progress.verdict.message if progress.verdict else ""


def _doubt(observation: Observation) -> str:
    gateway = observation.gateway
    if gateway.error:
        return f": {gateway.error}"
    if gateway.is_absent:
        return ", but no pod of it is ready"
    if gateway.answered < gateway.pods:
        return ", but not every pod of it tells what it routes"
    return ""


def _address(observation: Observation) -> str:
    return f" {observation.serving.name} -n {observation.serving.namespace}"


def _write(at_s: float | None) -> str:
    return "" if at_s is None else write_time(datetime.fromtimestamp(at_s, UTC))


def tell_rollout(previous: Mapping[str, Any], current: Mapping[str, Any], now: datetime) -> Iterator[Event]:
    """The Events of a rollout: its steps, and who or what holds it. That another revision serves is told elsewhere."""
    before, after = previous.get("rollout") or {}, current.get("rollout") or {}
    if not after:
        if before and _is_promoted(before, now) and current.get("activeRevision") == before["revision"]:
            yield _tell_promotion(before["revision"], "gets all requests")
        return
    same = before if before.get("revision") == after["revision"] else {}
    if after["phase"] == Phase.ABORTED:
        if same.get("phase") != Phase.ABORTED:
            message = f"revision {after['revision']} was aborted in step {same.get('step', 0)} of {after['steps']}"
            yield Event(type="Warning", reason=Reason.ROLLOUT_ABORTED, message=message, action="Rollout")
        return
    if after["phase"] == Phase.FAILED:
        if same.get("phase") != Phase.FAILED:
            where = f" in step {after['step']} of {after['steps']}" if after["step"] else ""
            message = f"revision {after['revision']} failed{where}, and gets no requests any more: {after['message']}"
            reason = Reason.ANALYSIS_FAILED if after.get("analysis") else Reason.ROLLOUT_FAILED
            yield Event(type="Warning", reason=reason, message=message, action="Rollout")
        return
    if same.get("phase") == Phase.FAILED:
        message = f"revision {after['revision']} is tried again"
        yield Event(type="Normal", reason="RolloutRetried", message=message, action="Rollout")
        same = {}
    if after["step"] > same.get("step", 0):
        if _is_promoted(same, now):
            yield _tell_promotion(after["revision"], f"goes on with step {after['step']}")
        yield _tell_step(after)
    yield from _tell_phase(same, after, str(find_previous(current, READY).get("message", "")))


def _tell_phase(before: Mapping[str, Any], after: Mapping[str, Any], said: str) -> Iterator[Event]:
    """That it is held, or was. `said` is what Ready says of it."""
    revision, was, phase = after["revision"], before.get("phase"), after["phase"]
    if phase == was and after.get("heldSince") == before.get("heldSince"):
        return
    if phase == Phase.DOWN:
        message = f"revision {revision} isn't up any more in step {after['step']}: it gets no requests until it is"
        yield Event(type="Warning", reason="RolloutHalted", message=message, action="Rollout")
    elif phase == Phase.HOLDING and after.get("heldSince"):
        message = f"requests are held while the instances of revision {revision} take the place of others"
        yield Event(type="Normal", reason="RolloutHolding", message=message, action="Rollout")
    elif phase in (Phase.PAUSED, Phase.WAITING):
        yield Event(type="Normal", reason=Reason.ROLLOUT_PAUSED, message=said, action="Rollout")
    elif was == Phase.DOWN and (after["weightPct"] or after.get("shadowPct")):
        message = f"revision {revision} is up again, and gets {_share_of(after)}"
        yield Event(type="Normal", reason="RolloutContinued", message=message, action="Rollout")


def _tell_step(rollout: Mapping[str, Any]) -> Event:
    revision, reason = rollout["revision"], "RolloutStep"
    message = f"step {rollout['step']} of {rollout['steps']}: revision {revision} gets {_share_of(rollout)}"
    if not rollout["weightPct"] and not rollout.get("shadowPct"):
        reason, message = "RolloutPreview", f"revision {revision} is up, and can be looked at: {rollout['preview']}"
    return Event(type="Normal", reason=reason, message=message, action="Rollout")


def _share_of(rollout: Mapping[str, Any]) -> str:
    copies = f"copies of {rollout.get('shadowPct')} % of the requests"
    return copies if rollout.get("shadowPct") else f"{rollout['weightPct']} % of the requests"


def _is_promoted(before: Mapping[str, Any], now: datetime) -> bool:
    """Whether somebody ended a step before its time."""
    if before.get("heldSince"):
        # That is the time when it would be too late.
        return False
    until = before.get("until")
    return before.get("phase") == Phase.WAITING or bool(until and now < datetime.fromisoformat(until))


def _tell_promotion(revision: str, what: str) -> Event:
    message = f"revision {revision} {what}: it was promoted"
    return Event(type="Normal", reason="RolloutPromoted", message=message, action="Rollout")
