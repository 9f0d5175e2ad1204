"""The whole status of a ModelDeployment, from what was found of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from forebay.api.status import ConditionStatus, ModelDeploymentStatus, ModelInUse, Traffic
from forebay.observation import Observation, Reason, Trouble
from forebay.plan.names import Role, build_labels
from forebay.rollout.progress import Phase
from forebay.status.autoscaling import find_autoscaling
from forebay.status.components import Part, build_active_parts, build_parts, choose
from forebay.status.conditions import (
    AVAILABLE,
    PROGRESSING,
    READY,
    RESOLVED,
    STALLED,
    Finding,
    build_conditions,
    find,
    find_previous,
    list_previous,
    name_readiness,
    prefix,
)
from forebay.status.drill import find_drill
from forebay.status.fallback import find_fallback
from forebay.status.readiness import SUSPENDED, Verdict, check_traffic, describe_part, judge
from forebay.status.replacement import describe_hold
from forebay.status.rollback import append_rollback, build_rollback, find_rollback
from forebay.status.rollout import build_rollout, build_warm, find_end
from forebay.status.shadow import find_shadow
from forebay.status.sleep import describe_sleep, find_sleep, is_asleep, is_target_asleep, is_waking

Json = dict[str, Any]


def summarize(observation: Observation, previous: Mapping[str, Any], now: datetime) -> Json:
    """The status. Where nothing changed it equals `previous`, whatever time it is."""
    parts = build_parts(observation, now)
    active = observation.decision.active
    status = ModelDeploymentStatus(
        observed_generation=observation.generation,
        conditions=build_conditions(
            _find_all(observation, parts, previous, now), generation=observation.generation, previous=previous, now=now
        ),
        url=observation.url,
        external_url=observation.external_url,
        replicas=parts[0].found,
        ready_replicas=parts[0].ready,
        selector=build_selector(observation.serving.name),
        instances=f"{sum(part.ready for part in parts)}/{sum(part.wanted for part in parts)}",
        model=_tell_model(observation),
        active_revision=active.name if active else "",
        target_revision=observation.target.name,
        previous_revision=observation.previous_revision,
        active_number=observation.numbers.get(active.name) if active else None,
        target_number=observation.numbers.get(observation.target.name),
        components=[part.status for part in parts],
        traffic=[
            Traffic(revision=each.name, workload=each.entry, workloads=list(each.workloads), weight_pct=share_pct)
            for each, share_pct in observation.decision.shares_pct
        ],
        rollout=build_rollout(observation),
        warm=build_warm(observation),
        rollback=build_rollback(observation),
    )
    return _dump(status)


def summarize_invalid(
    generation: int,
    problems: Sequence[Trouble],
    previous: Mapping[str, Any],
    now: datetime,
    what: str = "the changed spec",
) -> Json:
    """The status where the spec itself, or `what` it names, can't be used: whatever runs goes on, and is told of as
    before.
    """
    trouble = choose(problems) or Trouble(reason=Reason.INVALID_SPEC, message="the spec can't be used", stalled=True)
    active = str(previous.get("activeRevision") or "")
    told = prefix(trouble, f"still serving {active}; {what} can't be used: " if active else "")
    verdict = Verdict(trouble=told, is_failure=True)
    findings = [
        find(READY, False, told),
        _find_progress(verdict, what),
        _find_stalled(verdict),
    ]
    if not find_previous(previous, AVAILABLE):
        findings.insert(1, find(AVAILABLE, False, trouble))
    findings += _find_unresolved(trouble, previous)
    made = build_conditions(findings, generation=generation, previous=previous, now=now)
    new = {each.type: each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in made}
    # What was found of the revision that runs stays as it was found.
    types = dict.fromkeys([READY, AVAILABLE, PROGRESSING, STALLED, *(each["type"] for each in list_previous(previous))])
    conditions = [new.get(each) or dict(find_previous(previous, each)) for each in types]
    kept = {key: value for key, value in previous.items() if key in _KEYS}
    return _dump(
        ModelDeploymentStatus.model_validate({**kept, "observedGeneration": generation, "conditions": conditions})
    )


def build_selector(name: str) -> str:
    """The pods of the predictor, of all revisions."""
    labels = build_labels(deployment=name, role=Role.PREDICTOR)
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def is_settled(status: Mapping[str, Any]) -> bool:
    """Whether everything is as it should be: Ready is True, or all of it was stopped on purpose."""
    ready, progress = find_previous(status, READY), find_previous(status, PROGRESSING)
    is_stopped = ready.get("reason") == Reason.SUSPENDED and progress.get("status") == "False"
    return is_stopped or _is_held(status) or (ready.get("status") == "True" and ready.get("reason") != Reason.WAKING)


def _is_held(status: Mapping[str, Any]) -> bool:
    """Whether the gateway does what a rollout wants, which goes on with time alone, or by somebody's hand."""
    rollout = status.get("rollout") or {}
    is_at_rest = rollout.get("phase") in _AT_REST and not rollout.get("heldSince")
    return is_at_rest and rollout.get("routedPct") == rollout["weightPct"]


_UNRESOLVED = (Reason.UNKNOWN_MODEL_VERSION, Reason.UNREACHABLE_MODEL, Reason.MODEL_REGISTRY_UNAVAILABLE)
_AT_REST = (Phase.RUNNING, Phase.WAITING, Phase.ANALYZING, Phase.PAUSED, Phase.ABORTED, Phase.FAILED)
_KEYS = {field.alias or name for name, field in ModelDeploymentStatus.model_fields.items()}


def _tell_model(observation: Observation) -> ModelInUse | None:
    version = observation.version
    if version is None:
        return None
    return ModelInUse(
        version=version.reference,
        uri=version.uri,
        digest=version.digest,
        run=version.run or None,
        reference=observation.uri or None,
    )


def _find_all(
    observation: Observation, parts: Sequence[Part], previous: Mapping[str, Any], now: datetime
) -> list[Finding]:
    verdict, unusable = judge(observation, parts, previous, now), observation.unusable
    traffic, why = check_traffic(observation, waking=_is_active_waking(observation, verdict, previous, now))
    if held := describe_hold(observation, now):
        traffic, why = "True", held
    verdict = replace(verdict, trouble=_explain(observation, verdict, traffic))
    said = f"revision {observation.target.name} is ready, and gets all requests{append_rollback(observation)}"
    ready = Trouble(reason=Reason.READY, message=said)
    return [
        find(READY, verdict.trouble is None, verdict.trouble or verdict.said or ready),
        Finding(type=AVAILABLE, status=traffic, reason=why.reason, message=why.message),
        _find_progress(verdict, unusable.what if unusable else f"revision {observation.target.name}"),
        _find_stalled(verdict),
        *(_find_component(part, _find_rest(observation)) for part in parts),
        *find_rollback(observation),
        *find_sleep(observation),
        *_find_resolution(observation, previous),
        *find_autoscaling(observation, build_active_parts(observation, parts, now)),
        *find_fallback(observation),
        *find_shadow(observation),
        *find_drill(observation, now),
    ]


def _is_active_waking(observation: Observation, verdict: Verdict, previous: Mapping[str, Any], now: datetime) -> bool:
    """Whether requests may wait for what has the traffic: one that can't start answers nobody."""
    active = observation.decision.active
    if active is not None and active.name == observation.target.name:
        # As Ready says. A gateway that has yet to tell that its last instance is gone had Available say that it serves.
        return verdict.said is not None
    return is_waking(observation, previous, now, AVAILABLE)


def _find_resolution(observation: Observation, previous: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether MLflow says which version is meant: what serves doesn't hang on it."""
    version, doubt = observation.version, observation.doubt
    if observation.unusable:
        yield from _find_unresolved(observation.unusable.trouble, previous)
        return
    if version is None or not observation.uri:
        return
    if doubt:
        message = f"{doubt}. {version.reference} serves on, which {observation.uri} was when MLflow was asked last"
        yield find(RESOLVED, False, Trouble(reason=Reason.MODEL_REGISTRY_UNAVAILABLE, message=message))
    else:
        yield find(RESOLVED, True, Trouble(reason=Reason.RESOLVED, message=f"{observation.uri} is {version.reference}"))


def _find_unresolved(trouble: Trouble, previous: Mapping[str, Any]) -> Iterator[Finding]:
    """That it says so no more."""
    if find_previous(previous, RESOLVED) and trouble.reason in _UNRESOLVED:
        yield find(RESOLVED, False, trouble)


def _explain(observation: Observation, verdict: Verdict, traffic: ConditionStatus) -> Trouble | None:
    """What keeps it from being ready, and who serves meanwhile."""
    active, target, unusable = observation.decision.active, observation.target.name, observation.unusable
    if verdict.trouble is None or active is None or (active.name == target and not unusable):
        return verdict.trouble
    serves = f"{active.name} serves no more" if traffic == "False" else f"still serving {active.name}"
    if traffic == "True" and is_asleep(observation, active):
        serves = f"{active.name} is asleep, and the next request wakes it"
    if unusable:
        coming = "" if active.name == target else f" {target} is on its way;"
        return prefix(verdict.trouble, f"{serves};{coming} {unusable.what} can't be used: ")
    progress = observation.decision.progress
    how = "can't start" if verdict.is_failure else "is on its way"
    if progress and progress.phase is Phase.ABORTED:
        how = "was aborted"
    elif progress and progress.phase is Phase.FAILED:
        how = f"failed in step {progress.step}" if progress.step else "has failed"
    elif progress and progress.held_s is not None and not verdict.is_failure:
        how = "takes its place"
    elif progress and progress.phase is Phase.DOWN:
        how = f"failed in step {progress.step}, and gets no requests until it is up again"
    elif progress and progress.weight_pct and verdict.is_failure:
        how = f"is in step {progress.step}, with {progress.weight_pct} % of the requests, and not well"
    return prefix(verdict.trouble, f"{serves}; {target} {how}: ")


def _find_progress(verdict: Verdict, what: str) -> Finding:
    """Whether there is something to wait for. What it is stands in Ready, once."""
    if verdict.said and verdict.said.reason is Reason.WAKING:
        return find(
            PROGRESSING, True, Trouble(reason=Reason.WAKING, message=f"{what} starts: Ready says how far it is")
        )
    if verdict.trouble is None:
        return find(PROGRESSING, False, verdict.said or Trouble(reason=Reason.READY, message=f"{what} is ready"))
    if verdict.is_at_rest:
        return find(PROGRESSING, False, verdict.trouble)
    how = "waits for somebody to step in" if verdict.stalled else "is not settled yet"
    message = f"{what} {how}: Ready says why"
    return find(PROGRESSING, not verdict.stalled, Trouble(reason=verdict.trouble.reason, message=message))


def _find_stalled(verdict: Verdict) -> Finding:
    if verdict.stalled and verdict.trouble:
        return find(STALLED, True, verdict.trouble)
    told = verdict.trouble or verdict.said
    reason = told.reason if told else Reason.READY
    return find(STALLED, False, Trouble(reason=reason, message="nothing waits for somebody to step in"))


def _find_rest(observation: Observation) -> Trouble | None:
    """Why no instance is to be there."""
    if observation.serving.suspended:
        return SUSPENDED
    if end := find_end(observation):
        return end
    return describe_sleep(observation) if is_target_asleep(observation) else None


def _find_component(part: Part, rest: Trouble | None) -> Finding:
    if rest:
        return find(name_readiness(part.role), False, rest)
    ready = Trouble(reason=Reason.READY, message=f"all instances of {part.planned.name} are ready")
    return find(name_readiness(part.role), part.is_up, describe_part(part) or ready)


def _dump(status: ModelDeploymentStatus) -> Json:
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
