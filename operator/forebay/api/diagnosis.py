"""All that is wrong with one object, found in one pass: so that its author mends it in one."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from forebay.api.advice import CONTAINER_FIELDS, POD_FIELDS
from forebay.api.base import Kind, Model
from forebay.api.document import Node
from forebay.api.fields import fields_of, meant_here, nearest
from forebay.api.pod_template import ContainerPatch, PodPatchSpec
from forebay.api.rules import Path, Violation, check_rules, child_models, fields_read
from forebay.api.wording import type_of, word

# What else Kubernetes takes in metadata; it checks these itself.
OBJECT_META = (
    "annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers",
    "generateName", "generation", "labels", "managedFields", "name", "namespace", "ownerReferences", "resourceVersion",
    "selfLink", "uid",
)  # fmt: skip

# What else Kubernetes takes where any field of its own may stand.
OF_KUBERNETES: Mapping[type[Model], frozenset[str]] = {PodPatchSpec: POD_FIELDS, ContainerPatch: CONTAINER_FIELDS}


class Finding(NamedTuple):
    """Something wrong, and the path of the field at fault."""

    path: Path
    message: str


def diagnose(kind: type[Kind], data: Mapping[str, Any], node: Node) -> Iterator[Finding]:
    """What the apiserver would refuse: the schema first, then the rules over whatever fits the schema."""
    errors = schema_errors(kind, data)
    for path, error in errors:
        yield Finding(_visible(path), word(kind, path, error))
    yield from check_metadata(data.get("metadata"))
    yield from check_misspelt(kind, data)
    broken = broken_paths(kind, errors)
    for violation in check_rules(kind, prune(data, broken), broken=broken):
        yield Finding(_at_fault(violation), violation.rule.message + _note_on_nothing(violation, node))


def schema_errors(kind: type[Kind], data: Mapping[str, Any]) -> list[tuple[Path, ErrorDetails]]:
    """What pydantic finds, each error at the path of the value at fault."""
    try:
        kind.model_validate(data, strict=True, by_alias=True, by_name=False)
    except ValidationError as invalid:
        errors = []
        for error in invalid.errors(include_url=False):
            path = tuple(error["loc"])
            if error["type"] == "duplicate_name":
                path = (*path, error["ctx"]["second"])
            errors.append((path, error))
        return errors
    return []


def check_metadata(metadata: Any) -> Iterator[Finding]:
    """Misspelt metadata, which Forebay's model leaves to Kubernetes."""
    if not isinstance(metadata, Mapping):
        return
    for name in metadata:
        if name not in OBJECT_META:
            near = nearest(name, list(OBJECT_META))
            advice = f"did you mean {near}?" if near else "Kubernetes knows no such metadata; it may belong under spec"
            yield Finding(("metadata", name), f"unknown field: {advice}")
    annotations = metadata.get("annotations", {})
    if not isinstance(annotations, Mapping):
        yield Finding(("metadata", "annotations"), "must be an object of names and texts")
        return
    for name, value in annotations.items():
        if not isinstance(value, str):
            yield Finding(("metadata", "annotations", name), f"must be text, not {type_of(value)}: put it in quotes")


def check_misspelt(model: type[Model], data: Mapping[str, Any], at: Path = ()) -> Iterator[Finding]:
    """Misspelt fields of a pod, which Forebay's model and the CRD leave to Kubernetes: it would refuse the pods."""
    known = OF_KUBERNETES.get(model, frozenset())
    for name in data if known else ():
        near = None if name in known or name in fields_of(model) else nearest(name, sorted(known), cutoff=0.9)
        if near:
            yield Finding((*at, name), f"unknown field: did you mean {near}?")
    for name, child in child_models(model).items():
        below = data.get(name)
        for index, item in enumerate(below if isinstance(below, list) else [below]):
            if isinstance(item, Mapping):
                yield from check_misspelt(child, item, (*at, name, index) if isinstance(below, list) else (*at, name))


def broken_paths(kind: type[Kind], errors: list[tuple[Path, ErrorDetails]]) -> frozenset[Path]:
    """The fields that can't be relied on: those with errors, and those that misspelt ones were meant to be."""
    broken = set()
    for path, error in errors:
        broken.add(path)
        if error["type"] == "extra_forbidden" and (near := meant_here(kind, path)):
            broken.add((*path[:-1], near))
        if error["type"] == "missing" and len(path) > len(("spec", "predictor")):
            broken.add(path[:-1])
    return frozenset(broken)


def prune(data: Mapping[str, Any], broken: frozenset[Path]) -> dict[str, Any]:
    """The object without the fields that are broken, so that the rules can be evaluated over the rest."""
    rest = deepcopy(dict(data))
    for path in broken:
        # An item is not taken out of its list, which would give the others new positions: the list goes.
        steps = list(path)
        while steps and not isinstance(steps[-1], str):
            steps.pop()
        parent: Any = rest
        for step in steps[:-1]:
            try:
                parent = parent[step]
            except (KeyError, IndexError, TypeError):
                parent = None
        if steps and isinstance(parent, dict):
            parent.pop(steps[-1], None)
    return rest


def _at_fault(violation: Violation) -> Path:
    return violation.path + tuple(part for part in violation.rule.field.split(".") if part)


def _note_on_nothing(violation: Violation, node: Node) -> str:
    """`triton:` with nothing after it reads as if it were written, and counts as left out."""
    here = find(node, violation.path)
    if not isinstance(here.value, dict):
        return ""
    for read in fields_read(violation.rule):
        child = here.value.get(str(read[0]))
        if child is not None and child.value is None:
            return f"; `{read[0]}:` with nothing after it counts as left out, `{read[0]}: {{}}` does not"
    return ""


def _visible(path: Path) -> Path:
    return path[:-1] if path and path[-1] == "[key]" else path


def find(node: Node, path: Path) -> Node:
    """The node at a path, or the closest one above it that exists."""
    for step in path:
        if isinstance(node.value, dict) and step in node.value:
            node = node.value[str(step)]
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            break
    return node
