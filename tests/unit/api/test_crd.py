"""The generated CRDs: up to date, structural, described and bounded throughout."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from forebay.api import Model, ModelDeploymentStatus
from forebay.api.crd import UNSEEN, build_crd, build_schema, inline
from forebay.api.generate import diff, main, render_files
from forebay.api.kinds import KINDS
from forebay.api.node_cache import NodeCache

ROOT = Path(__file__).parents[3]
CRDS = {name: build_crd(kind) for name, kind in {**KINDS, "NodeCache": NodeCache}.items()}
# All that the structural schemas of apiextensions.k8s.io/v1 may hold, and this project uses.
KEYWORDS = {
    "type", "description", "properties", "required", "items", "additionalProperties", "enum", "default", "pattern",
    "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems",
    "format", "maxProperties", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
    "x-kubernetes-preserve-unknown-fields",
}  # fmt: skip


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from walk(schema[key], f"{path}[]")


FIELDS = [
    pytest.param(path, schema, id=f"{kind}{path}")
    for kind, crd in CRDS.items()
    for path, schema in walk(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
]


@pytest.mark.parametrize(("path", "schema"), FIELDS)
def test_schema_is_structural(path, schema):
    assert schema.keys() <= KEYWORDS
    assert schema["type"] in {"object", "array", "string", "integer", "number", "boolean"}
    assert not ("properties" in schema and "additionalProperties" in schema)
    assert not ("x-kubernetes-preserve-unknown-fields" in schema and "additionalProperties" in schema)
    assert set(schema.get("required", [])) <= set(schema.get("properties", {}))
    if schema["type"] == "array":
        assert isinstance(schema["items"], dict)
    for key in schema.get("x-kubernetes-list-map-keys", []):
        assert key in schema["items"]["required"]


@pytest.mark.parametrize(("path", "schema"), FIELDS)
def test_every_field_is_described_and_bounded(path, schema):
    if path.startswith(".metadata"):
        return
    assert schema.get("description") or path.endswith("[]")
    if path in (".apiVersion", ".kind"):
        return
    bounds = {
        "string": "maxLength" in schema or "enum" in schema,
        "integer": {"minimum", "maximum"} <= schema.keys(),
        "number": {"minimum", "maximum"} <= schema.keys(),
        "array": "maxItems" in schema and "x-kubernetes-list-type" in schema,
        "object": "additionalProperties" not in schema or "maxProperties" in schema,
        "boolean": True,
    }
    assert bounds[schema["type"]]
    for rule in schema.get("x-kubernetes-validations", []):
        assert rule["message"]
        assert rule.get("fieldPath", ".").startswith(".")


@pytest.mark.parametrize("crd", CRDS.values(), ids=CRDS)
def test_subresources_and_columns_point_at_fields(crd):
    version = crd["spec"]["versions"][0]
    paths = {path for path, _ in walk(version["schema"]["openAPIV3Schema"])} | {".metadata.creationTimestamp"}
    scale = version["subresources"].get("scale", {})
    assert set(scale.values()) <= paths
    for column in version["additionalPrinterColumns"]:
        assert re.sub(r"\[\?\(@\.type==\"\w+\"\)\]", "[]", column["jsonPath"]) in paths
    assert version["subresources"]["status"] == {}


def test_nobody_takes_an_unseen_object_for_done():
    (condition,) = UNSEEN["conditions"]
    status = ModelDeploymentStatus.model_validate(UNSEEN, strict=True)
    assert (condition["type"], condition["status"]) == ("Ready", "Unknown")
    assert status.conditions[0].message.startswith("The operator has not looked at this object yet")


def test_files_in_the_repo_are_up_to_date():
    for path, text in render_files().items():
        assert diff(ROOT / path, text) == ""


def test_generate_checks_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--check"]) == 1
    assert "+kind: CustomResourceDefinition" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert main(["--chek"]) == 2


def test_hack_generate_runs_from_anywhere(tmp_path):
    done = subprocess.run(
        [ROOT / "hack/generate", "--check"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_written_file_has_no_anchors():
    for text in render_files().values():
        assert yaml.safe_load(text)
        assert "&id" not in text


def test_union_is_refused():
    with pytest.raises(TypeError, match="not structural"):
        inline({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {})


def test_exclusive_bounds_and_constants():
    assert build_schema({"type": "number", "exclusiveMinimum": 0}, {}) == {
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
    }
    assert build_schema({"type": "string", "const": "a"}, {}) == {"type": "string", "enum": ["a"]}


def models(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in kind.__subclasses__():
        yield model
        yield from models(model)


@pytest.mark.parametrize("model", list(models(Model)), ids=lambda model: model.__name__)
def test_every_model_field_has_words(model):
    assert model.__doc__
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.rstrip("`").endswith((".", ":")) or field.description[-1] in ".`", name
