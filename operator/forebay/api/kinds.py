"""The kinds of the API, by name."""

from collections.abc import Mapping
from typing import Any

from forebay.api.base import GROUP, VERSION
from forebay.api.diagnosis import Finding
from forebay.api.fields import nearest
from forebay.api.image_build import ImageBuild
from forebay.api.model_deployment import ModelDeployment
from forebay.api.model_version import ModelVersion

Loaded = ModelDeployment | ModelVersion | ImageBuild
KINDS: dict[str, type[Loaded]] = {
    "ModelDeployment": ModelDeployment,
    "ModelVersion": ModelVersion,
    "ImageBuild": ImageBuild,
}
API_VERSION = f"{GROUP}/{VERSION}"


def check_type(head: Mapping[str, Any]) -> Finding | None:
    """Whether the object is one of Forebay's; if not, what to write instead."""
    *others, last = KINDS
    known = f"{', '.join(others)} or {last}"
    kind, version = head.get("kind"), head.get("apiVersion")
    for name, value, example in (("kind", kind, known), ("apiVersion", version, API_VERSION)):
        near = nearest(name, list(head), cutoff=0.8) if value is None else None
        if near is not None:
            return Finding((near,), f"unknown field: did you mean {name}?")
        if not isinstance(value, str):
            wrong = "is required" if value is None else "must be text"
            return Finding((name,), f"{wrong}: write {name}: {example}")
    if kind not in KINDS:
        near = nearest(str(kind), list(KINDS)) if str(version).startswith(f"{GROUP}/") else None
        return Finding(("kind",), f"did you mean {near}?" if near else f"is not one of Forebay's: known is {known}")
    if version != API_VERSION:
        return Finding(("apiVersion",), f"is not the version of {kind}: write apiVersion: {API_VERSION}")
    return None
