"""ImageBuilds in a real apiserver: what it refuses is what the loader refuses, and the same defaults are filled in."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from forebay.api.dump import to_data
from forebay.api.load import load_text
from forebay.api.problems import InvalidManifest
from tests.api.apiserver import ROOT, ControlPlane

pytestmark = [pytest.mark.api, pytest.mark.timeout(3600)]

CASES = yaml.safe_load((ROOT / "tests/unit/api/builds.yaml").read_text())
SPEC = {"script": "class A:\n    def predict(self, inputs): ...\n", "image": "registry.example.com/models/digits:1"}


def manifest_of(case: dict[str, Any]) -> str:
    head = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ImageBuild"}
    metadata = {"name": case.get("object", "digits")}
    return yaml.safe_dump({**head, "metadata": metadata, "spec": SPEC | case["manifest"]})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_apiserver_agrees_with_the_loader(case: dict[str, Any], control_plane: ControlPlane) -> None:
    manifest = manifest_of(case)
    command = ("create", "--dry-run=server", "--output=json", "-f", "-")
    done = control_plane.kubectl(*command, given=manifest, check=False)
    try:
        (made,) = load_text(manifest, file="case.yaml", folder=Path("/nowhere"))
    except InvalidManifest:
        assert done.returncode, done.stdout
        return
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spec"] == to_data(made)["spec"]
