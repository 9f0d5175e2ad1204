"""Manifests in a real apiserver: what it refuses is what the loader refuses, and the same defaults are filled in."""

import json
from pathlib import Path
from typing import Any

import pytest

from forebay.api.dump import to_data
from forebay.api.load import load_text
from forebay.api.problems import InvalidManifest
from tests.api.apiserver import ControlPlane
from tests.unit.api.kinds import Sample, each_case

pytestmark = [pytest.mark.api, pytest.mark.timeout(3600)]


@each_case
def test_apiserver_agrees_with_the_loader(sample: Sample, case: dict[str, Any], control_plane: ControlPlane) -> None:
    manifest = sample.write_case(case)
    command = ("create", "--dry-run=server", "--output=json", "-f", "-")
    done = control_plane.kubectl(*command, given=manifest, check=False)
    try:
        (made,) = load_text(manifest, file="case.yaml", folder=Path("/nowhere"))
    except InvalidManifest:
        assert done.returncode, done.stdout
        return
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spec"] == to_data(made)["spec"]
