"""The loader and the generated CRD accept and refuse the same manifests, and fill in the same defaults.

The CRD's side follows the apiserver's order: unknown fields, nulls, defaults, OpenAPI, lists, rules. tests/api does the
same with Kubernetes' own code.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from forebay.api.base import PRESERVE
from forebay.api.document import YamlError, plain, read_documents
from forebay.api.dump import to_data
from forebay.api.load import load_text
from forebay.api.problems import InvalidManifest, Problem
from forebay.api.rules import compile_rule

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "cases.yaml").read_text())
CRD = yaml.safe_load((HERE.parents[2] / "crds/forebay.dev_modeldeployments.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
HEADER = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: case}\nspec:\n"


def manifest_of(case: dict[str, Any]) -> str:
    text = case["manifest"]
    return text if "apiVersion" in text else HEADER + "".join(f"  {line}\n" for line in text.splitlines())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_loader_says_what_is_wrong_and_no_more(case):
    problems: tuple[Problem, ...] = ()
    try:
        load_text(manifest_of(case), file="case.yaml", folder=HERE)
    except InvalidManifest as invalid:
        problems = invalid.problems
    found = {problem.path: problem.message for problem in problems}
    assert len(found) == len(problems), problems
    assert all(problem.line for problem in problems), problems
    wanted = case.get("refused", {})
    assert found.keys() == wanted.keys(), found
    for path, words in wanted.items():
        assert words in found[path]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_crd_agrees(case):
    try:
        documents = list(read_documents(manifest_of(case)))
    except YamlError:
        assert case["refused"]
        return
    problems = [] if case.get("stricter") else [each for node in documents for each in complaints(node)]
    data = plain(documents[0])
    problems += list(refuse(data))
    assert bool(problems) == bool(case.get("refused") and not case.get("stricter")), problems


@pytest.mark.parametrize("case", [case for case in CASES if not case.get("refused")], ids=lambda case: case["name"])
def test_defaults_agree(case):
    (made,) = load_text(manifest_of(case), file="case.yaml", folder=HERE)
    data = drop_nulls(SCHEMA, as_json(plain(next(iter(read_documents(manifest_of(case)))))))
    fill(SCHEMA, data)
    wanted = to_data(made)["spec"]
    if data["spec"].get("model", {}).get("uri", "").startswith("file:"):
        wanted["model"]["uri"] = data["spec"]["model"]["uri"]
    assert data["spec"] == wanted


def complaints(node) -> list[Any]:
    below = node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else []
    return list(node.complaints) + [each for child in below for each in complaints(child)]


def refuse(data: Any) -> Iterator[str]:
    """What an apiserver that has this CRD would say about an object."""
    if not isinstance(data, dict):
        yield "no object"
        return
    try:
        data = as_json(data)
    except ValueError:
        yield "no JSON"
        return
    names = CRD["spec"]["names"], CRD["spec"]["group"] + "/" + CRD["spec"]["versions"][0]["name"]
    if (data.get("kind"), data.get("apiVersion")) != (names[0]["kind"], names[1]):
        yield "type"
        return
    metadata = data.get("metadata") or {}
    texts = [*(metadata.get("labels") or {}).values(), *(metadata.get("annotations") or {}).values()]
    if "label" in metadata or not metadata.get("name") or not all(isinstance(text, str) for text in texts):
        yield "metadata"
        return
    yield from unknown(SCHEMA, {name: value for name, value in data.items() if name != "metadata"})
    data = drop_nulls(SCHEMA, copy.deepcopy(data))
    fill(SCHEMA, data)
    errors = [error.message for error in jsonschema.Draft202012Validator(go_regexps(SCHEMA)).iter_errors(data)]
    errors += duplicates(SCHEMA, data)
    yield from errors
    if not errors:
        yield from broken_rules(SCHEMA, data)


def as_json(data: Any) -> Any:
    """As kubectl sends it, and the apiserver's decoder reads it: integers have 64 bits."""
    text = json.dumps(data, allow_nan=False)
    return json.loads(text, parse_int=lambda digits: int(digits) if abs(int(digits)) < 2**63 else float(digits))


def unknown(schema: dict[str, Any], data: Any) -> Iterator[str]:
    if isinstance(data, dict) and schema["type"] == "object":
        for name, value in data.items():
            if name in schema.get("properties", {}):
                yield from unknown(schema["properties"][name], value)
            elif "additionalProperties" not in schema and PRESERVE not in schema:
                yield f"unknown field {name}"
    if isinstance(data, list) and "items" in schema:
        for item in data:
            yield from unknown(schema["items"], item)


def drop_nulls(schema: dict[str, Any] | None, data: Any) -> Any:
    """Nothing counts as left out, where the schema knows the field."""
    if isinstance(data, dict):
        below = {name: child_schema(schema, name) for name in data}
        kept = {name: value for name, value in data.items() if value is not None or below[name] is None}
        return {name: drop_nulls(below[name], value) for name, value in kept.items()}
    items = (schema or {}).get("items")
    return [drop_nulls(items, item) for item in data] if isinstance(data, list) else data


def child_schema(schema: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    schema = schema or {}
    found: dict[str, Any] | None = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return found


def fill(schema: dict[str, Any], data: Any) -> None:
    """Defaulting, as structural schemas have it: an object's default first, then those of its fields."""
    if isinstance(data, dict):
        for name, child in schema.get("properties", {}).items():
            if name not in data and "default" in child:
                data[name] = copy.deepcopy(child["default"])
            if name in data:
                fill(child, data[name])
    if isinstance(data, list):
        for item in data:
            fill(schema.get("items", {}), item)


def go_regexps(schema: Any) -> Any:
    """In Go's regular expressions, `$` is the end of the text; in Python's, a line's end may follow."""
    if isinstance(schema, dict):
        return {
            key: value.replace("$", r"\Z") if key == "pattern" and isinstance(value, str) else go_regexps(value)
            for key, value in schema.items()
        }
    return [go_regexps(each) for each in schema] if isinstance(schema, list) else schema


def duplicates(schema: dict[str, Any], data: Any) -> Iterator[str]:
    for child_schema, child in children(schema, data):
        yield from duplicates(child_schema, child)
    if schema.get("x-kubernetes-list-type") == "map" and isinstance(data, list):
        (key,) = schema["x-kubernetes-list-map-keys"]
        names = [item.get(key) for item in data if isinstance(item, dict)]
        if len(set(names)) < len(names):
            yield "duplicate"


def broken_rules(schema: dict[str, Any], data: Any) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        held = compile_rule(rule["rule"]).eval(data={"self": data}).value()
        assert isinstance(held, bool), held
        if not held:
            yield rule["message"]
    for child_schema, child in children(schema, data):
        yield from broken_rules(child_schema, child)


def children(schema: dict[str, Any], data: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    if isinstance(data, dict):
        for name, value in data.items():
            below = child_schema(schema, name)
            if below is not None:
                yield below, value
    if isinstance(data, list) and "items" in schema:
        for item in data:
            yield schema["items"], item
