"""ImageBuilds as the loader reads them. tests/api asks a real apiserver the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from forebay.api import ImageBuild
from forebay.api.load import load_file, load_text
from forebay.api.problems import InvalidManifest, Problem

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "builds.yaml").read_text())
SPEC = {"script": "class A:\n    def predict(self, inputs): ...\n", "image": "registry.example.com/models/digits:1"}


def manifest_of(case: dict[str, Any]) -> str:
    head = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ImageBuild"}
    metadata = {"name": case.get("object", "digits")}
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


def test_a_script_beside_the_manifest_is_read(tmp_path: Path) -> None:
    (tmp_path / "digits.py").write_text(SPEC["script"])
    (tmp_path / "build.yaml").write_text(manifest_of({"manifest": {"script": "digits.py"}}))
    (made,) = load_file(tmp_path / "build.yaml")
    assert isinstance(made, ImageBuild)
    assert made.spec.script == SPEC["script"]
    assert made.spec.platforms == ["linux/amd64"]
