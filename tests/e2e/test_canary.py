"""No request fails while a new revision takes over step by step: to its end, aborted, turned back, and with operators,
gateways and pilots that go in every step.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.e2e import installation
from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.load import Load
from tests.e2e.models import (
    DOUBLE,
    build_doubler,
    describe,
    find_condition,
    is_ready,
    list_pods,
    read_status,
    wait_ready,
)
from tests.e2e.test_drain import are_ready, kill

pytestmark = pytest.mark.timeout(300)

Json = dict[str, Any]
NAMESPACE = "test-canary"
NAME = "stepwise"
PATH = f"/{NAMESPACE}/{NAME}/v2/models/{NAME}/infer"
RATE = 30
BY_TIME: Json = {"canary": {"steps": [{"weight": 10}, {"weight": 30, "pause": "5s"}, {"weight": 50, "pause": "5s"}]}}
BY_HAND: Json = {"canary": {"steps": [{"weight": 20}, {"weight": 50}]}}


@pytest.fixture(scope="module")
def stepwise(namespace: Kubectl, gateway: str) -> Kubectl:
    """Two instances of a doubler."""
    namespace.apply(build_doubler(NAME, replicas=2))
    wait_ready(namespace, NAME)
    return namespace


@pytest.fixture
def load(stepwise: Kubectl, gateway: str) -> Iterator[Load]:
    """A load for as long as a test lasts: at its end, every request was answered well."""
    tensor = ("x", np.zeros((1, 2), np.float32))
    with Load(gateway, path=PATH, body=DOUBLE, tensor=tensor, rate=RATE) as load:
        yield load
        load.wait_for(RATE)
    load.check()


def patch(kubectl: Kubectl, *, rollout: Json | None = None, label: str = "") -> None:
    """Say how, or ask for another revision, which is called by its label."""
    spec: Json = {} if rollout is None else {"rollout": rollout}
    if label:
        spec["predictor"] = {"podTemplate": {"metadata": {"labels": {"round": label}}}}
    kubectl("patch", "md", NAME, "--type=merge", "-p", json.dumps({"spec": spec}))


def wait_phase(kubectl: Kubectl, phase: str, step: int) -> Json:
    """Until the rollout is so far: the status."""

    def find() -> Json | None:
        status = read_status(kubectl, NAME)
        rollout = status.get("rollout", {})
        return status if (rollout.get("phase"), rollout.get("step")) == (phase, step) else None

    return eventually(find, timeout_s=120, explain=lambda: describe(kubectl, NAME))


def wait_alone(kubectl: Kubectl, label: str) -> None:
    """Until no pods are there but two of this label, which are ready."""
    selector = f"--selector=app.kubernetes.io/instance={NAME}"

    def is_alone() -> bool:
        found = kubectl.get("pods", selector)["items"]
        labels = {pod["metadata"]["labels"].get("round", "") for pod in found}
        return len(found) == 2 and labels == {label} and all(map(is_ready, found))

    eventually(is_alone, timeout_s=120, explain=lambda: describe(kubectl, NAME))


def count_answers(gateway: str, number: int = 200) -> Counter[str]:
    """Which revisions answer."""
    with httpx.Client(base_url=f"http://{gateway}") as client:
        answers = [client.post(PATH, json=DOUBLE) for _ in range(number)]
    assert {each.status_code for each in answers} == {200}
    return Counter(each.headers["x-forebay-revision"] for each in answers)


def test_to_its_end_by_time(stepwise: Kubectl, load: Load, gateway: str) -> None:
    patch(stepwise, rollout=BY_TIME, label="first")
    status = wait_phase(stepwise, "Waiting", 1)
    old, new = status["activeRevision"], status["targetRevision"]
    assert find_condition(status, "Available")["status"] == "True"
    assert find_condition(status)["reason"] == "RolloutPaused"
    # Both are whole.
    assert len(list_pods(stepwise, NAME)) == 4
    assert count_answers(gateway).keys() == {old, new}
    patch(stepwise, rollout={"promote": {"revision": new, "step": 1}})
    wait_ready(stepwise, NAME, timeout_s=120)
    wait_alone(stepwise, "first")
    assert read_status(stepwise, NAME)["activeRevision"] == new
    assert count_answers(gateway).keys() == {new}


@pytest.mark.timeout(600)
def test_by_hand_with_all_that_may_go_in_every_step(stepwise: Kubectl, load: Load, gateway: str) -> None:
    patch(stepwise, rollout=BY_HAND, label="second")
    wait_phase(stepwise, "Waiting", 1)
    status = read_status(stepwise, NAME)
    old, new = status["activeRevision"], status["targetRevision"]
    for step in (1, 2):
        before = wait_phase(stepwise, "Waiting", step)["traffic"]
        upset(stepwise, load)
        assert wait_phase(stepwise, "Waiting", step)["traffic"] == before
        load.wait_for(RATE)
        assert count_answers(gateway).keys() == {old, new}
        # Nobody is there who would hear of it at once.
        delete_one(stepwise, "operator")
        patch(stepwise, rollout={"promote": {"revision": new, "step": step}})
    wait_ready(stepwise, NAME, timeout_s=120)
    wait_alone(stepwise, "second")
    upset(stepwise, load)
    assert read_status(stepwise, NAME)["activeRevision"] == new
    assert count_answers(gateway).keys() == {new}


def upset(kubectl: Kubectl, load: Load) -> None:
    """A pilot is killed, and its pod of the gateway, and one of the operator are deleted, one after the other, under
    load. What was killed is deleted then: the kubelet is slower with each start of the same container.
    """
    eventually(lambda: are_ready(kubectl, "gateway"), timeout_s=90)
    (first, *_) = installation.list_pods(kubectl, "gateway")
    kill(kubectl, "forebay.gateway", wanted=1, pods=[first])
    load.wait_for(RATE * 2)
    eventually(lambda: are_ready(kubectl, "gateway"), timeout_s=90)
    known = f"{NAMESPACE}/{NAME}"
    eventually(lambda: all(known in each for each in installation.read_routes(kubectl)), timeout_s=90)
    system = kubectl.within(installation.SYSTEM)
    system("delete", "pod", first["metadata"]["name"], "--timeout=60s", timeout_s=70)
    load.wait_for(RATE * 2)
    eventually(lambda: are_ready(kubectl, "gateway"), timeout_s=90)
    delete_one(kubectl, "operator")
    load.wait_for(RATE * 2)
    eventually(lambda: are_ready(kubectl, "operator"), timeout_s=90)


def delete_one(kubectl: Kubectl, component: str) -> None:
    (first, *_) = installation.list_pods(kubectl, component)
    kubectl.within(installation.SYSTEM)("delete", "pod", first["metadata"]["name"], "--timeout=60s", timeout_s=70)


def test_aborted(stepwise: Kubectl, load: Load, gateway: str) -> None:
    patch(stepwise, rollout=BY_HAND, label="third")
    status = wait_phase(stepwise, "Waiting", 1)
    load.wait_for(RATE)
    patch(stepwise, rollout={"abort": status["targetRevision"]})
    wait_phase(stepwise, "Aborted", 0)
    wait_alone(stepwise, "second")
    found = read_status(stepwise, NAME)
    assert find_condition(found)["reason"] == "RolloutAborted"
    assert find_condition(found, "Available")["status"] == "True"
    assert count_answers(gateway).keys() == {status["activeRevision"]}
    # And turned back: what serves is what is wanted.
    patch(stepwise, rollout={"abort": None}, label="second")
    wait_ready(stepwise, NAME)
    assert read_status(stepwise, NAME)["activeRevision"] == status["activeRevision"]


def test_turned_back_midway(stepwise: Kubectl, load: Load, gateway: str) -> None:
    patch(stepwise, rollout=BY_HAND, label="fourth")
    status = wait_phase(stepwise, "Waiting", 1)
    uids = {
        pod["metadata"]["uid"] for pod in list_pods(stepwise, NAME) if pod["metadata"]["labels"]["round"] == "second"
    }
    load.wait_for(RATE)
    patch(stepwise, label="second")
    wait_ready(stepwise, NAME)
    wait_alone(stepwise, "second")
    assert {pod["metadata"]["uid"] for pod in list_pods(stepwise, NAME)} == uids, "nothing was started anew"
    assert count_answers(gateway).keys() == {status["activeRevision"]}
