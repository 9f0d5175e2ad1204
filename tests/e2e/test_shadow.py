"""A new revision answers copies before it answers clients: one that is wrong never does, and nobody loses a request."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.load import Load
from tests.e2e.models import DOUBLE, build_doubler, describe, find_condition, read_status, wait_ready
from tests.e2e.test_cli import Command

pytestmark = pytest.mark.timeout(300)

Json = dict[str, Any]
NAMESPACE = "test-shadow"
NAME, OTHER = "shadowed", "other"
PATH = f"/{NAMESPACE}/{NAME}/v2/models/{NAME}/infer"
RATE = 30
ANALYSIS: Json = {"interval": "2s", "minRequests": 50, "latency": []}
ROLLOUT: Json = {"canary": {"steps": [{"shadow": 100, "pause": "2s"}], "analysis": ANALYSIS}}


@pytest.fixture(scope="module")
def shadowed(namespace: Kubectl, gateway: str) -> Kubectl:
    """Two doublers, of which nobody asks the other one."""
    for name in (NAME, OTHER):
        namespace.apply(build_doubler(name))
    for name in (NAME, OTHER):
        wait_ready(namespace, name)
    return namespace


@pytest.fixture
def load(shadowed: Kubectl, gateway: str) -> Iterator[Load]:
    """A load for as long as a test lasts: at its end, every request was answered well."""
    tensor = ("x", np.zeros((1, 2), np.float32))
    with Load(gateway, path=PATH, body=DOUBLE, tensor=tensor, rate=RATE) as load:
        yield load
        load.wait_for(RATE)
    load.check()


def patch(kubectl: Kubectl, spec: Json) -> None:
    kubectl("patch", "md", NAME, "--type=merge", "-p", json.dumps({"spec": spec}))


def write_script(factor: int) -> str:
    """A doubler that may triple: of gRPC's zeros nobody would notice, of the others everybody."""
    script: str = build_doubler(NAME)["spec"]["predictor"]["custom"]["script"]
    assert "float32(2)" in script
    return script.replace("float32(2)", f"float32({factor})") + "# another\n"


def wait_phase(kubectl: Kubectl, phase: str) -> Json:
    def find() -> Json | None:
        status = read_status(kubectl, NAME)
        return status if status.get("rollout", {}).get("phase") == phase else None

    return eventually(find, timeout_s=120, explain=lambda: describe(kubectl, NAME))


def test_one_that_answers_wrongly_is_taken_back(shadowed: Kubectl, load: Load) -> None:
    patch(shadowed, {"rollout": ROLLOUT, "predictor": {"custom": {"script": write_script(3)}}})
    status = wait_phase(shadowed, "Failed")
    assert "answers to copies differ" in status["rollout"]["message"]
    assert [(each["revision"], each["weightPct"]) for each in status["traffic"]] == [(status["activeRevision"], 100)]


def test_one_that_answers_as_before_takes_over(shadowed: Kubectl, load: Load) -> None:
    before = read_status(shadowed, NAME)["activeRevision"]
    patch(shadowed, {"rollout": ROLLOUT, "predictor": {"custom": {"script": write_script(2)}}})
    eventually(
        lambda: read_status(shadowed, NAME)["activeRevision"] != before,
        timeout_s=120,
        explain=lambda: describe(shadowed, NAME),
    )
    wait_ready(shadowed, NAME, timeout_s=120)


def test_another_deployment_gets_copies(shadowed: Kubectl, load: Load, tmp_path: Any) -> None:
    patch(shadowed, {"shadow": {"deployment": OTHER}})

    def is_told() -> bool:
        found = [each for each in read_status(shadowed, NAME)["conditions"] if each["type"] == "ShadowReady"]
        return [each["status"] for each in found] == ["True"]

    eventually(is_told, timeout_s=60, explain=lambda: describe(shadowed, NAME))
    forebay = Command(shadowed, tmp_path)
    shown = eventually(lambda: (said := forebay("shadow", NAME).stdout) and "100 %" in said and said, timeout_s=60)
    assert f"{OTHER}-predictor-" in shown
    patch(shadowed, {"shadow": {"deployment": "none"}})
    eventually(lambda: not is_told(), timeout_s=60)
    assert find_condition(read_status(shadowed, NAME), "ShadowReady")["reason"] == "ShadowMissing"
