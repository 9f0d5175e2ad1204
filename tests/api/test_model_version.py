"""ModelVersions in a real apiserver: what can't be changed of them, and what can."""

import json
from typing import Any

import pytest

from tests.api.apiserver import ControlPlane
from tests.unit.api.kinds import VERSION

pytestmark = [pytest.mark.api, pytest.mark.timeout(3600)]

DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
def version(control_plane: ControlPlane) -> Any:
    """digits:3, with a digest."""
    control_plane.kubectl("apply", "-f", "-", given=VERSION.write(digest=DIGEST))
    yield "digits-3"
    control_plane.kubectl("delete", "mv", "digits-3")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"uri": "s3://models/digits/4"}, "uri"),
        ({"digest": DIGEST.replace("0", "1")}, "digest"),
        ({"digest": None}, "digest"),
        ({"model": "letters"}, "model"),
        ({"version": "4"}, "version"),
    ],
)
def test_what_its_files_are_never_changes(
    control_plane: ControlPlane, version: str, change: dict[str, Any], field: str
) -> None:
    patch = ("patch", "mv", version, "--type=merge", "-p", json.dumps({"spec": change}))
    done = control_plane.kubectl(*patch, check=False)
    assert done.returncode
    assert f"spec.{field}: Invalid value" in done.stderr
    assert "another version, make a ModelVersion of its own" in done.stderr


def test_what_is_known_of_it_does(control_plane: ControlPlane, version: str) -> None:
    change = {"aliases": ["champion"], "metrics": {"accuracy": 0.97}, "credentials": {"secretName": "s3"}}
    control_plane.kubectl("patch", "mv", version, "--type=merge", "-p", json.dumps({"spec": change}))
    assert control_plane.get("mv", version)["spec"] == VERSION.spec | change | {
        "digest": DIGEST, "labels": [], "inputs": [], "outputs": [], "lineage": {"by": "", "from": [], "run": ""},
    }  # fmt: skip


def test_a_digest_may_come_later(control_plane: ControlPlane) -> None:
    control_plane.kubectl("apply", "-f", "-", given=VERSION.write())
    patch = ("patch", "mv", "digits-3", "--type=merge", "-p", json.dumps({"spec": {"digest": DIGEST}}))
    control_plane.kubectl(*patch)
    control_plane.kubectl("delete", "mv", "digits-3")


def test_columns(control_plane: ControlPlane, version: str) -> None:
    control_plane.kubectl("patch", "mv", version, "--type=merge", "-p", '{"spec": {"aliases": ["a", "champion"]}}')
    head, row = control_plane.kubectl("get", "mv", version).stdout.splitlines()
    assert head.split() == ["NAME", "MODEL", "VERSION", "ALIASES", "READY", "AGE"]
    assert row.split()[:5] == ["digits-3", "digits", "3", '["a","champion"]', "Unknown"]
