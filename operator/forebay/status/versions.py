"""The status of a ModelVersion: whether its aliases are its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from forebay.api.status import ModelVersionStatus
from forebay.observation import Reason, Trouble
from forebay.plan.versions import Version, describe_conflict, sort_versions
from forebay.status.conditions import READY, build_conditions, find

Json = dict[str, Any]
PREFETCHED = "Prefetched"


def summarize_version(
    version: Version, siblings: Sequence[Version], generation: int, previous: Mapping[str, Any], now: datetime
) -> Json:
    """The status of one of `siblings`, all versions of a model. It equals `previous` where nothing changed."""
    trouble = _check_aliases(version, siblings)
    names = ", ".join([version.reference, *sorted(version.references - {version.reference})])
    ready = Trouble(reason=Reason.READY, message=f"ModelDeployments may name it as {names}")
    status = ModelVersionStatus(
        observed_generation=generation,
        conditions=build_conditions(
            [find(READY, trouble is None, trouble or ready)], generation=generation, previous=previous, now=now
        ),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def add_prefetch(status: Json, prefetch: Trouble, previous: Mapping[str, Any], now: datetime) -> Json:
    """The status with a condition more: whether the nodes have it that are to."""
    finding = find(PREFETCHED, prefetch.reason is Reason.READY, prefetch)
    generation = int(status["observedGeneration"])
    (made,) = build_conditions([finding], generation=generation, previous=previous, now=now)
    added = made.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**status, "conditions": [*status["conditions"], added]}


def _check_aliases(version: Version, siblings: Sequence[Version]) -> Trouble | None:
    said = []
    for alias in sorted(version.aliases):
        claimants = [each for each in sort_versions(siblings) if alias in each.aliases]
        if len(claimants) > 1:
            said.append(describe_conflict(f"{version.model}@{alias}", claimants))
    return Trouble(reason=Reason.AMBIGUOUS_ALIAS, message="; ".join(said), stalled=True) if said else None
