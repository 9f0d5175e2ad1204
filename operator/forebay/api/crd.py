"""Models to CustomResourceDefinitions: the apiserver is to accept, refuse and fill in exactly what pydantic does."""

from collections.abc import Mapping
from typing import Any

from forebay.api.base import GROUP, PRESERVE, VERSION, Kind, Model

# What a structural schema takes over as it stands; the rest (title, examples, additionalProperties: false) is dropped.
KEPT = (
    "description",
    "type",
    "enum",
    "default",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    PRESERVE,
    "x-kubernetes-validations",
)

# All that a CRD may say of metadata: its name, so that a rule's fieldPath can lead there. 253 is Kubernetes' own limit.
METADATA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}}

UNSEEN = {
    "conditions": [
        {
            "type": "Ready",
            "status": "Unknown",
            "reason": "Pending",
            "message": "The operator has not looked at this object yet. Is it running? kubectl get pods -A "
            "-l app.kubernetes.io/name=forebay,app.kubernetes.io/component=operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }
    ]
}


def build_crd(kind: type[Kind]) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    columns = [
        {"name": name, "type": type_, "jsonPath": path} | ({"priority": 1} if wide else {})
        for name, type_, path, wide in kind.columns
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.__name__,
                "listKind": f"{kind.__name__}List",
                "plural": kind.plural,
                "singular": kind.__name__.lower(),
                "shortNames": list(kind.short_names),
                "categories": list(kind.categories),
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [
                        *columns,
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "subresources": build_subresources(kind),
                    "schema": {"openAPIV3Schema": build_root_schema(kind)},
                }
            ],
        },
    }


def build_root_schema(kind: type[Kind]) -> dict[str, Any]:
    """The structural schema of a kind. Its type and metadata are Kubernetes' own, and validated by it."""
    schema = build_model_schema(kind)
    schema["properties"]["apiVersion"] = {"type": "string", "description": "The API's group and version."}
    schema["properties"]["kind"] = {"type": "string", "description": "The kind."}
    schema["properties"]["metadata"] = dict(METADATA)
    schema["required"] = ["spec"]
    if kind.status_model:
        status = build_model_schema(kind.status_model)
        # Until the operator has seen an object nobody is to take it for done: kubectl wait and GitOps tools look here.
        unseen = {"default": UNSEEN} if "conditions" in status["properties"] else {}
        schema["properties"]["status"] = status | unseen
    return schema


def build_model_schema(model: type[Model]) -> dict[str, Any]:
    """The structural schema of a model."""
    generated = model.model_json_schema(by_alias=True)
    return build_schema(generated, generated.get("$defs", {}))


def build_subresources(kind: type[Kind]) -> dict[str, Any]:
    """The subresources of a kind: its status, and what `kubectl scale` needs."""
    made: dict[str, Any] = {"status": {}} if kind.status_model else {}
    if kind.scale:
        made["scale"] = {
            "specReplicasPath": kind.scale.spec,
            "statusReplicasPath": kind.scale.status,
            "labelSelectorPath": kind.scale.selector,
        }
    return made


def build_schema(node: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema from pydantic's JSON schema of one field."""
    node = inline(node, defs)
    schema = {key: node[key] for key in KEPT if key in node}
    if "const" in node:
        schema["enum"] = [node["const"]]
    for limit in ("Minimum", "Maximum"):
        if f"exclusive{limit}" in node:
            schema[limit.lower()] = node[f"exclusive{limit}"]
            schema[f"exclusive{limit}"] = True
    if "default" in schema:
        # An object's default is spelled out: the apiserver evaluates the rules over it as it stands.
        schema["default"] = without_none(schema["default"])
        if schema["default"] is None:
            del schema["default"]
    if node.get("properties"):
        schema["properties"] = {name: build_schema(child, defs) for name, child in node["properties"].items()}
    if "required" in node:
        schema["required"] = list(node["required"])
    if "items" in node:
        schema["items"] = build_schema(node["items"], defs)
        schema.setdefault("x-kubernetes-list-type", "atomic")
    # A map's keys can't be held to a pattern by a structural schema: that is a rule's work.
    values = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
    if isinstance(values, Mapping) and PRESERVE not in schema:
        schema["additionalProperties"] = build_schema(values, defs)
    return schema


def inline(node: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Put what `$ref` points to in its place, and read `X or null` as X: the apiserver takes null for left out."""
    flat = dict(node)
    while "$ref" in flat or "anyOf" in flat or "allOf" in flat:
        if "$ref" in flat:
            target = defs[flat.pop("$ref").removeprefix("#/$defs/")]
        else:
            choices = [each for each in flat.pop("anyOf", None) or flat.pop("allOf") if each != {"type": "null"}]
            if len(choices) != 1:
                raise TypeError(f"a union is not structural: use exactly-one-of optional fields and a rule: {node}")
            (target,) = choices
        # What stands at the field (its description, its default) goes before what stands at the type.
        flat = {**target, **flat}
    return flat


def without_none(value: Any) -> Any:
    """A default without what is left out in it."""
    if isinstance(value, Mapping):
        return {name: without_none(child) for name, child in value.items() if child is not None}
    if isinstance(value, list):
        return [without_none(child) for child in value]
    return value
