"""ModelVersions as the loader reads them. tests/api asks a real apiserver the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from forebay.api import ModelDeployment, ModelVersion
from forebay.api.dump import to_data, to_yaml
from forebay.api.load import load_file, load_text
from forebay.api.problems import InvalidManifest, Problem

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "versions.yaml").read_text())
SPEC = {"model": "digits", "version": "3", "uri": "s3://models/digits/3"}


def manifest_of(case: dict[str, Any]) -> str:
    head = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelVersion"}
    metadata = {"name": case.get("object", "digits-3")}
    return yaml.safe_dump({**head, "metadata": metadata, "spec": SPEC | case["manifest"]})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_loader_says_what_is_wrong_and_no_more(case: dict[str, Any]) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        load_text(manifest_of(case), file="case.yaml", folder=HERE)
    except InvalidManifest as invalid:
        problems = invalid.problems
    found = {problem.path: problem.message for problem in problems}
    wanted = case.get("refused", {})
    assert found.keys() == wanted.keys(), found
    for path, words in wanted.items():
        assert words in found[path]


def test_what_is_read_is_written_as_it_was() -> None:
    (made,) = load_text(manifest_of(CASES[1]), file="case.yaml", folder=HERE)
    assert isinstance(made, ModelVersion)
    assert made.spec.lineage.origins == ["s3://data/digits", "git:4711"]
    assert to_data(made, defaults=False)["spec"] == SPEC | CASES[1]["manifest"]
    assert load_text(to_yaml(made), file="again", folder=HERE) == [made]


def test_both_kinds_in_a_file(tmp_path: Path) -> None:
    deployment = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: digits}
spec: {model: {version: "digits@champion"}, predictor: {triton: {}}}
---
"""
    (tmp_path / "m.yaml").write_text(deployment + manifest_of({"manifest": {"uri": "file:./model"}}))
    one, other = load_file(tmp_path / "m.yaml")
    assert isinstance(one, ModelDeployment)
    assert isinstance(other, ModelVersion)
    assert other.spec.uri == (tmp_path / "model").as_uri()


def test_a_kind_that_was_misspelt() -> None:
    with pytest.raises(InvalidManifest, match="did you mean ModelVersion"):
        load_text(manifest_of(CASES[0]).replace("ModelVersion", "Modelversoin"), file="m", folder=HERE)
