"""The revisions that are kept of a ModelDeployment: one write when one is new, one when its outcome is known."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from forebay.controller.planning import Plan
from forebay.kube.apply import Applier, ChildConflictError, OwnerReference
from forebay.kube.children import Child, Id
from forebay.kube.client import PASSING, ApiError
from forebay.kube.packing import unpack
from forebay.kube.resources import CONTROLLER_REVISION
from forebay.plan.history import (
    Change,
    Outcome,
    Record,
    build_annotations,
    build_record,
    choose_kept,
    find_previous,
    is_record,
    name_record,
    read_record,
)
from forebay.plan.names import CAUSE_ANNOTATION
from forebay.rollout.state import Decision
from forebay.status.conditions import write_time

Json = dict[str, Any]

_log = logging.getLogger(__name__)


def read_records(children: Mapping[Id, Child], uid: str) -> dict[str, Record]:
    """What is kept of the ModelDeployment of this uid, by the revisions' names."""
    found = (
        _unpack(child.packed)
        for key, child in children.items()
        if key.kind == CONTROLLER_REVISION.kind and (child.owner_uid == uid or child.is_orphan)
    )
    return {each.name: each for each in found if each}


# Who rolls out is looked at often within seconds, and its records don't change meanwhile.
@lru_cache(maxsize=128)
def _unpack(packed: bytes) -> Record | None:
    """A record as it is kept in memory; None for what only has its labels."""
    body = unpack(packed)
    return read_record(body) if is_record(body) else None


@dataclass(frozen=True, kw_only=True)
class History:
    """Writes records. What can't be written is logged: nobody is served any worse without it."""

    applier: Applier
    clock: Callable[[], datetime]

    async def keep_target(
        self, reference: OwnerReference, body: Json, plan: Plan, before: Mapping[str, Record]
    ) -> None:
        """Keep the target, as the latest."""
        known, latest = before.get(plan.target.name), max((each.number for each in before.values()), default=0)
        # What serves on where the spec can't be used was never away.
        is_there = plan.unusable is not None and not plan.unwanted
        if known and (known.number == latest or is_there) and not known.is_orphan:
            return
        record = build_latest(body, plan, before, self.clock())
        try:
            if known is None:
                await self.applier.apply(reference, build_record(body, record))
            else:
                await self._amend(reference, record)
        except ChildConflictError as error:
            _log.warning("%s/%s: revision %s isn't kept: %s", *reference.owner, record.name, error)
        except ApiError as error:
            _forgive(error, reference, record)

    async def keep_outcome(self, reference: OwnerReference, decision: Decision, records: Mapping[str, Record]) -> None:
        """Keep what became of a revision, once that is known."""
        for name, outcome in find_outcomes(decision).items():
            record = records.get(name)
            if record is None or record.outcome == outcome:
                continue
            try:
                await self._amend(reference, replace(record, outcome=outcome))
            except ApiError as error:
                _forgive(error, reference, record)

    async def _amend(self, reference: OwnerReference, record: Record) -> None:
        key = Id(CONTROLLER_REVISION.kind, name_record(reference.owner.name, record.name))
        annotations = {CAUSE_ANNOTATION: None, **build_annotations(record)}
        metadata = {"annotations": annotations, "ownerReferences": [reference.build()]}
        await self.applier.amend(reference, key, {"metadata": metadata, "revision": record.number})


def find_outcomes(decision: Decision) -> dict[str, str]:
    """What became of revisions, as far as it is known now. Of the one that serves it may not have been kept yet, where
    an operator ended.
    """
    outcomes: dict[str, str] = {}
    progress, active = decision.progress, decision.active
    if progress and progress.phase.value in (Outcome.ABORTED.value, Outcome.FAILED.value):
        outcomes[progress.revision] = progress.phase.value
    return outcomes | ({active.name: Outcome.SERVED.value} if active else {})


def build_latest(body: Json, plan: Plan, before: Mapping[str, Record], now: datetime) -> Record:
    """The target's record, with the next number."""
    latest = max(before.values(), key=lambda each: each.number, default=None)
    known = before.get(plan.target.name)
    cause, by = _explain(body, plan, latest)
    change = Change(at=write_time(now), by=by, cause=cause)
    number = latest.number + 1 if latest else 1
    if known and latest and known.number == latest.number:
        # It only lost its owner.
        return known
    if known:
        return replace(known, number=number, change=change)
    return Record(name=plan.target.name, number=number, data=plan.data, change=change)


def name_previous(records: Mapping[str, Record], plan: Plan, decision: Decision) -> str:
    """What the target is rolled back to; empty where there is nothing."""
    active = decision.active.name if decision.active else ""
    found = find_previous(records, target=plan.target.name, active=active)
    return found.name if found else ""


def list_kept(plan: Plan, records: Mapping[str, Record], decision: Decision, deployment: str) -> set[Id]:
    """The records that stay."""
    strategy = plan.serving.strategy
    active = decision.active.name if decision.active else ""
    needed = {plan.target.name, active, strategy.unwanted, strategy.restored}
    kept = choose_kept(records, strategy.history, needed)
    return {Id(CONTROLLER_REVISION.kind, name_record(deployment, name)) for name in kept}


def _explain(body: Json, plan: Plan, latest: Record | None) -> tuple[str, str]:
    """Why there is another revision, and who is behind it. A spec that is as it was has no author."""
    annotations = body["metadata"].get("annotations", {})
    by = next((str(each["manager"]) for each in body["metadata"].get("managedFields", ())), "")
    if plan.unwanted:
        return f"rolled back from {plan.unwanted}", by
    if latest and latest.data["spec"] == plan.data["spec"]:
        if latest.version != plan.version and plan.version:
            return f"{_name_source(plan.data)} became {plan.version.reference}", "the model registry"
        if latest.name != plan.target.name:
            return "another version or setting of Forebay, or another label, makes its pods otherwise", "forebay"
    return annotations.get(CAUSE_ANNOTATION, ""), by


def _name_source(data: Mapping[str, Any]) -> str:
    model = data["spec"].get("model", {})
    return str(model.get("version") or model.get("uri") or "the model")


def _forgive(error: ApiError, reference: OwnerReference, record: Record) -> None:
    if error.status in PASSING or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise error
    _log.warning("%s/%s: revision %s isn't kept: %s", *reference.owner, record.name, error)
