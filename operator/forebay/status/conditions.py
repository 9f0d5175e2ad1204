"""Conditions as Kubernetes' tools read them: each with the time since when its status is so."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from forebay.api.status import Condition, ConditionStatus
from forebay.observation import Reason, Trouble
from forebay.status.lines import LONGEST_MESSAGE, cut

READY, AVAILABLE, PROGRESSING, STALLED = "Ready", "Available", "Progressing", "Stalled"
# Where a registry outside the cluster says which version is meant.
RESOLVED = "ModelResolved"
# Where something is scaled by its load.
AUTOSCALING = "Autoscaling"
# Where no request for a while ends all instances.
ASLEEP = "Asleep"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A condition without its times."""

    type: str
    status: ConditionStatus
    reason: Reason
    message: str


def find(type_: str, is_so: bool, trouble: Trouble) -> Finding:
    """A condition for a reason."""
    return Finding(type=type_, status="True" if is_so else "False", reason=trouble.reason, message=trouble.message)


def name_readiness(role: str) -> str:
    """The condition of a component."""
    return f"{role.capitalize()}Ready"


def prefix(trouble: Trouble, before: str) -> Trouble:
    """The trouble with words before it."""
    return replace(trouble, message=before + trouble.message)


def build_conditions(
    findings: Iterable[Finding], *, generation: int, previous: Mapping[str, Any], now: datetime
) -> list[Condition]:
    """The conditions; one whose status is as it was keeps its time."""
    before = {each["type"]: each for each in list_previous(previous)}
    return [
        Condition(
            type=finding.type,
            status=finding.status,
            observed_generation=generation,
            last_transition_time=_choose_time(before.get(finding.type), finding, now),
            reason=finding.reason,
            message=cut(finding.message, LONGEST_MESSAGE),
        )
        for finding in findings
    ]


def list_previous(status: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The conditions of a status that was written before."""
    return list(status.get("conditions") or [])


def find_previous(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """One of them; empty where it has none of that type."""
    return next((each for each in list_previous(status) if each.get("type") == type_), {})


def _choose_time(before: Mapping[str, Any] | None, finding: Finding, now: datetime) -> str:
    if before and before.get("status") == finding.status and before.get("lastTransitionTime"):
        return str(before["lastTransitionTime"])
    return write_time(now)


def write_time(at: datetime) -> str:
    """As the apiserver writes times."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
