"""ModelVersions as the loader reads them, beside what test_kinds.py asks of all kinds."""

from pathlib import Path

import pytest

from forebay.api import ModelDeployment, ModelVersion
from forebay.api.dump import to_data, to_yaml
from forebay.api.load import load_file, load_text
from forebay.api.problems import InvalidManifest
from tests.unit.api.kinds import HERE, VERSION

CASES = VERSION.cases


def test_what_is_read_is_written_as_it_was() -> None:
    (made,) = load_text(VERSION.write_case(CASES[1]), file="case.yaml", folder=HERE)
    assert isinstance(made, ModelVersion)
    assert made.spec.lineage.origins == ["s3://data/digits", "git:4711"]
    assert to_data(made, defaults=False)["spec"] == VERSION.spec | CASES[1]["manifest"]
    assert load_text(to_yaml(made), file="again", folder=HERE) == [made]


def test_both_kinds_in_a_file(tmp_path: Path) -> None:
    deployment = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: digits}
spec: {model: {version: "digits@champion"}, predictor: {triton: {}}}
---
"""
    (tmp_path / "m.yaml").write_text(deployment + VERSION.write(uri="file:./model"))
    one, other = load_file(tmp_path / "m.yaml")
    assert isinstance(one, ModelDeployment)
    assert isinstance(other, ModelVersion)
    assert other.spec.uri == (tmp_path / "model").as_uri()


def test_a_kind_that_was_misspelt() -> None:
    with pytest.raises(InvalidManifest, match="did you mean ModelVersion"):
        load_text(VERSION.write_case(CASES[0]).replace("ModelVersion", "Modelversoin"), file="m", folder=HERE)
