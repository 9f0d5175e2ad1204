"""The whole status of a ModelDeployment, from what was found of it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from forebay.api.status import ConditionStatus, ModelDeploymentStatus, ModelInUse, Traffic
from forebay.observation import Observation, Reason, Trouble
from forebay.plan.names import Role, build_labels
from forebay.status.components import Part, build_parts, choose
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
    prefix,
)
from forebay.status.readiness import Verdict, check_traffic, describe_part, judge

Json = dict[str, Any]


def summarize(observation: Observation, previous: Mapping[str, Any], now: datetime) -> Json:
    """The status. Where nothing changed it equals `previous`, whatever time it is."""
    parts = build_parts(observation, now)
    active = observation.decision.active
    status = ModelDeploymentStatus(
        observed_generation=observation.generation,
        conditions=build_conditions(
            _find_all(observation, parts), generation=observation.generation, previous=previous, now=now
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
        components=[part.status for part in parts],
        traffic=[Traffic(revision=active.name, workload=active.entry, workloads=list(active.workloads), weight_pct=100)]
        if active
        else [],
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
    if find_previous(previous, RESOLVED) and trouble.reason in _UNRESOLVED:
        findings.append(find(RESOLVED, False, trouble))
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
    """Whether everything is as it should be: Ready is True."""
    return find_previous(status, READY).get("status") == "True"


_UNRESOLVED = (Reason.UNKNOWN_MODEL_VERSION, Reason.UNREACHABLE_MODEL, Reason.MODEL_REGISTRY_UNAVAILABLE)
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


def _find_all(observation: Observation, parts: Sequence[Part]) -> list[Finding]:
    verdict = judge(observation, parts)
    traffic, why = check_traffic(observation)
    verdict = Verdict(trouble=_explain(observation, verdict, traffic), is_failure=verdict.is_failure)
    ready = Trouble(reason=Reason.READY, message=f"revision {observation.target.name} is ready, and gets all requests")
    return [
        find(READY, verdict.trouble is None, verdict.trouble or ready),
        Finding(type=AVAILABLE, status=traffic, reason=why.reason, message=why.message),
        _find_progress(verdict, f"revision {observation.target.name}"),
        _find_stalled(verdict),
        *(_find_component(part) for part in parts),
        *_find_resolution(observation),
    ]


def _find_resolution(observation: Observation) -> Iterator[Finding]:
    """Whether MLflow says which version is meant: what serves doesn't hang on it."""
    version, doubt = observation.version, observation.doubt
    if version is None or not observation.uri:
        return
    if doubt:
        message = f"{doubt}. {version.reference} serves on, which {observation.uri} was when MLflow was asked last"
        yield find(RESOLVED, False, Trouble(reason=Reason.MODEL_REGISTRY_UNAVAILABLE, message=message))
    else:
        yield find(RESOLVED, True, Trouble(reason=Reason.RESOLVED, message=f"{observation.uri} is {version.reference}"))


def _explain(observation: Observation, verdict: Verdict, traffic: ConditionStatus) -> Trouble | None:
    """What keeps it from being ready, and who serves meanwhile."""
    active, target = observation.decision.active, observation.target.name
    if verdict.trouble is None or active is None or active.name == target:
        return verdict.trouble
    serves = f"{active.name} serves no more" if traffic == "False" else f"still serving {active.name}"
    how = "can't start" if verdict.is_failure else "is on its way"
    return prefix(verdict.trouble, f"{serves}; {target} {how}: ")


def _find_progress(verdict: Verdict, what: str) -> Finding:
    """Whether there is something to wait for. What it is stands in Ready, once."""
    if verdict.trouble is None:
        return find(PROGRESSING, False, Trouble(reason=Reason.READY, message=f"{what} is ready"))
    how = "waits for somebody to step in" if verdict.stalled else "is not settled yet"
    message = f"{what} {how}: Ready says why"
    return find(PROGRESSING, not verdict.stalled, Trouble(reason=verdict.trouble.reason, message=message))


def _find_stalled(verdict: Verdict) -> Finding:
    if verdict.stalled and verdict.trouble:
        return find(STALLED, True, verdict.trouble)
    reason = verdict.trouble.reason if verdict.trouble else Reason.READY
    return find(STALLED, False, Trouble(reason=reason, message="nothing waits for somebody to step in"))


def _find_component(part: Part) -> Finding:
    ready = Trouble(reason=Reason.READY, message=f"all instances of {part.planned.name} are ready")
    return find(f"{part.role.capitalize()}Ready", part.is_up, describe_part(part) or ready)


def _dump(status: ModelDeploymentStatus) -> Json:
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
