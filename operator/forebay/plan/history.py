"""The revisions that a ModelDeployment had: what is kept of each, as a ControllerRevision, and what of it becomes the
spec again. Pure.

A revision is kept by what makes its pods: how many of these run, and how requests reach them, is of the present.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from forebay.errors import UserError
from forebay.plan import names
from forebay.plan.names import build_owner_labels
from forebay.plan.versions import Version
from forebay.plan.workloads import Revision

Json = dict[str, Any]

_COMPONENTS = ("predictor", "transformer")
# Of a component what changes with no new pods.
_LIVE = ("replicas", "autoscaling", "concurrency")
_VERSION = {"secret_name": "secretName"}


class RollbackError(UserError):
    """What is to be served again can't be, in words for people."""


class Outcome(StrEnum):
    """What became of a revision: it got all requests, or somebody or something stopped it before."""

    SERVED = "Served"
    ABORTED = "Aborted"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True)
class Change:
    """When a revision was rolled out, by whom, and why, as far as the object tells."""

    at: str = ""
    by: str = ""
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A revision that is kept. The later it was rolled out (again), the higher its number. `outcome` is empty until
    there is one.

    `data` is what makes its pods (`spec`), the present numbers of instances when it came (`scaling`), the version that
    was named (`model`), and the names of its Deployments (`workloads`). `is_orphan`: it lost its owner.
    """

    name: str
    number: int
    data: Json
    change: Change = field(default_factory=Change)
    outcome: str = ""
    is_orphan: bool = False

    @property
    def title(self) -> str:
        """As people call it."""
        return f"r{self.number} ({self.name})"

    @property
    def version(self) -> Version | None:
        """The version that the spec named, as it was then."""
        return _read_version(self.data["model"]) if self.data.get("model") else None

    def is_same(self, other: Mapping[str, Any]) -> bool:
        """Whether another's data makes the same pods, but for what Forebay itself makes otherwise."""
        return all(self.data.get(part) == other.get(part) for part in ("spec", "model"))


def build_data(spec: Mapping[str, Any], version: Version | None, target: Revision) -> Json:
    """What is kept of a spec, as the apiserver has it."""
    content = {name: spec[name] for name in ("model", *_COMPONENTS) if name in spec}
    found = {name: spec[name] for name in _COMPONENTS if name in spec}
    for name, component in found.items():
        content[name] = {key: value for key, value in component.items() if key not in _LIVE}
    timeout = spec.get("queue", {}).get("timeout")
    return {
        "spec": {**content, **({"queue": {"timeout": timeout}} if timeout else {})},
        "scaling": {name: _cut_live(component) for name, component in found.items()},
        **({"model": _write_version(version)} if version else {}),
        "workloads": [each.name for each in target.workloads],
    }


def restore(spec: Mapping[str, Any], data: Mapping[str, Any]) -> Json:
    """The spec with what was kept in place of its own. A component that it has no more comes with its numbers of
    then.
    """
    kept = data["spec"]
    made = {name: value for name, value in spec.items() if name not in ("model", *_COMPONENTS)}
    made |= {name: kept[name] for name in ("model", *_COMPONENTS) if name in kept}
    for name in _COMPONENTS:
        if name in kept:
            live = _cut_live(spec[name]) if name in spec else data.get("scaling", {}).get(name, {})
            made[name] = {**kept[name], **live}
    return {**made, "queue": {**spec.get("queue", {}), **kept.get("queue", {})}}


def build_record(deployment: Mapping[str, Any], record: Record) -> Json:
    """A record as a ControllerRevision of a ModelDeployment."""
    metadata = deployment["metadata"]
    labels = {
        **metadata.get("labels", {}),
        **build_owner_labels(deployment=metadata["name"]),
        names.REVISION_LABEL: record.name,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name_record(metadata["name"], record.name),
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": build_annotations(record),
        },
        "data": record.data,
        "revision": record.number,
    }


def build_annotations(record: Record) -> dict[str, str]:
    """What is told of a record beside its content."""
    told = {
        names.ROLLED_OUT_ANNOTATION: record.change.at,
        names.CHANGED_BY_ANNOTATION: record.change.by,
        names.CAUSE_ANNOTATION: record.change.cause,
        names.OUTCOME_ANNOTATION: record.outcome,
    }
    return {name: text for name, text in told.items() if text}


def name_record(deployment: str, revision: str) -> str:
    """The name of the ControllerRevision of a revision."""
    return f"{deployment}-{revision}"


def is_record(body: Mapping[str, Any]) -> bool:
    """Whether a ControllerRevision is one that `build_record` made."""
    spec = (body.get("data") or {}).get("spec") or {}
    return names.REVISION_LABEL in body["metadata"].get("labels", {}) and "predictor" in spec


def read_record(body: Mapping[str, Any]) -> Record:
    """What was written by `build_record`."""
    metadata = body["metadata"]
    told = metadata.get("annotations", {})
    return Record(
        name=metadata["labels"][names.REVISION_LABEL],
        number=body["revision"],
        data=body["data"],
        change=Change(
            at=told.get(names.ROLLED_OUT_ANNOTATION, metadata.get("creationTimestamp", "")),
            by=told.get(names.CHANGED_BY_ANNOTATION, ""),
            cause=told.get(names.CAUSE_ANNOTATION, ""),
        ),
        outcome=told.get(names.OUTCOME_ANNOTATION, ""),
        is_orphan=not metadata.get("ownerReferences"),
    )


def choose_kept(records: Mapping[str, Record], most: int, needed: Iterable[str]) -> frozenset[str]:
    """The names of those that stay: the latest, and those that are needed, however old."""
    must = records.keys() & set(needed)
    others = [each.name for each in list_latest(records) if each.name not in must]
    return frozenset(must) | frozenset(others[: max(0, most - len(must))])


def find_previous(records: Mapping[str, Record], *, target: str, active: str) -> Record | None:
    """What `target` is rolled back to: what serves beside it while it is on its way, or served last before it."""
    if active != target and active in records:
        return records[active]
    served = [each for each in records.values() if each.name != target and each.outcome == Outcome.SERVED]
    return max(served, key=lambda each: each.number, default=None)


def list_latest(records: Mapping[str, Record]) -> list[Record]:
    """The latest first."""
    return sorted(records.values(), key=lambda each: each.number, reverse=True)


def list_titles(records: Mapping[str, Record]) -> str:
    """Those that there are, in words; the latest first."""
    return ", ".join(each.title for each in list_latest(records)) or "none"


def _cut_live(component: Mapping[str, Any]) -> Json:
    return {name: component[name] for name in _LIVE if name in component}


def _write_version(version: Version) -> Json:
    content = version.content._asdict()
    del content["aliases"]
    return {_VERSION.get(name, name): value for name, value in content.items() if value}


def _read_version(told: Mapping[str, str]) -> Version:
    outside = {_VERSION.get(name, name): name for name in Version._fields}
    return Version(**{outside[name]: value for name, value in told.items() if name in outside})  # type: ignore[arg-type]
