"""No request fails while a revision takes over that could be looked at before, nor while the spec goes back to the one
before it at once; and none is lost while there is only ever room for one of them.
"""

import json
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
    SMALL,
    build_doubler,
    describe,
    find_condition,
    is_ready,
    list_pods,
    read_status,
    wait_ready,
    wait_reason,
)

pytestmark = pytest.mark.timeout(300)

Json = dict[str, Any]
NAMESPACE = "test-strategies"
NAME, SCARCE = "shown", "scarce"
PATH = f"/{NAMESPACE}/{NAME}/v2/models/{NAME}/infer"
RATE = 30
LOOK: Json = {"blueGreen": {}, "scaleDownDelay": "1h"}


class PatientLoad(Load):
    """Of clients that wait as long as the gateway holds them."""

    patience_s = 120


@pytest.fixture(scope="module")
def shown(namespace: Kubectl, gateway: str) -> Kubectl:
    """Two instances of a doubler."""
    namespace.apply(build_doubler(NAME, replicas=2))
    wait_ready(namespace, NAME)
    return namespace


@pytest.fixture
def load(shown: Kubectl, gateway: str) -> Iterator[Load]:
    """A load for as long as a test lasts: at its end, every request was answered well."""
    tensor = ("x", np.zeros((1, 2), np.float32))
    with Load(gateway, path=PATH, body=DOUBLE, tensor=tensor, rate=RATE) as load:
        yield load
        load.wait_for(RATE)
    load.check()


def patch(kubectl: Kubectl, *, rollout: Json | None = None, label: str = "", name: str = NAME) -> None:
    """Say how, or ask for another revision, which is called by its label."""
    spec: Json = {} if rollout is None else {"rollout": rollout}
    if label:
        spec["predictor"] = {"podTemplate": {"metadata": {"labels": {"round": label}}}}
    kubectl("patch", "md", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def go_back(kubectl: Kubectl, name: str) -> None:
    """To the first revision, which has no label."""
    removal = [{"op": "remove", "path": "/spec/predictor/podTemplate/metadata"}]
    kubectl("patch", "md", name, "--type=json", "-p", json.dumps(removal))


def wait_phase(kubectl: Kubectl, phase: str) -> Json:
    def find() -> Json | None:
        status = read_status(kubectl, NAME)
        return status if status.get("rollout", {}).get("phase") == phase else None

    return eventually(find, timeout_s=120, explain=lambda: describe(kubectl, NAME))


def wait_pods(kubectl: Kubectl, *labels: str, name: str = NAME) -> None:
    """Until two ready pods of each of these labels are there, and no other."""
    selector = f"--selector=app.kubernetes.io/instance={name}"

    def is_so() -> bool:
        found = kubectl.get("pods", selector)["items"]
        seen = sorted(pod["metadata"]["labels"].get("round", "") for pod in found)
        return seen == sorted(labels * 2) and all(map(is_ready, found))

    eventually(is_so, timeout_s=120, explain=lambda: describe(kubectl, name))


def uids_of(kubectl: Kubectl, label: str) -> set[str]:
    found = list_pods(kubectl, NAME)
    return {pod["metadata"]["uid"] for pod in found if pod["metadata"]["labels"].get("round", "") == label}


def ask(gateway: str, path: str = PATH, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"http://{gateway}{path}", json=DOUBLE, headers=named, timeout=30)


def test_in_the_place_of_the_old_one_when_there_is_no_room_for_both(namespace: Kubectl, gateway: str) -> None:
    """All GPUs of the cluster are taken: beside the old one the new one never starts, in its place it does."""
    resources = {**SMALL, "gpu": {"count": 2}}
    namespace.apply(build_doubler(SCARCE, replicas=2, resources=resources))
    wait_ready(namespace, SCARCE)
    path = PATH.replace(NAME, SCARCE)
    tensor = ("x", np.zeros((1, 2), np.float32))
    with PatientLoad(gateway, path=path, body=DOUBLE, tensor=tensor, rate=RATE) as load:
        patch(namespace, label="first", name=SCARCE)
        said = wait_reason(namespace, SCARCE, "WaitingForGPU")
        assert "waits for 2 nvidia.com/gpu" in said["message"]
        assert "`rollout: {recreate: {}}` ends the instances of the revision before first" in said["message"]
        assert find_condition(read_status(namespace, SCARCE), "Available")["status"] == "True"
        load.wait_for(RATE)
        # There is a way back.
        go_back(namespace, SCARCE)
        wait_ready(namespace, SCARCE)
        wait_pods(namespace, "", name=SCARCE)
        patch(namespace, label="first", name=SCARCE)
        wait_reason(namespace, SCARCE, "WaitingForGPU")
        for label in ("first", "second"):
            patch(namespace, rollout={"recreate": {}}, label=label, name=SCARCE)
            wait_ready(namespace, SCARCE, timeout_s=120)
            wait_pods(namespace, label, name=SCARCE)
            load.wait_for(RATE)
    load.check()
    namespace("delete", "md", SCARCE, "--wait=false")


def test_looked_at_switched_and_back_at_once(shown: Kubectl, load: Load, gateway: str) -> None:
    patch(shown, rollout=LOOK, label="blue")
    status = wait_phase(shown, "Waiting")
    old, new = status["activeRevision"], status["targetRevision"]
    preview = PATH.replace(NAME, f"{NAME}@preview", 1)
    for answer in (ask(gateway, preview), ask(gateway, forebay_revision="preview"), ask(gateway, forebay_revision=new)):
        assert (answer.status_code, answer.headers["x-forebay-revision"]) == (200, new), answer.text
    assert {ask(gateway).headers["x-forebay-revision"] for _ in range(20)} == {old}
    missing = ask(gateway, forebay_revision="none")
    assert (missing.status_code, missing.json()["reason"]) == (404, "no-such-revision")
    # The operator goes while it waits.
    system = shown.within(installation.SYSTEM)
    (first, *_) = installation.list_pods(shown, "operator")
    system("delete", "pod", first["metadata"]["name"], "--timeout=60s", timeout_s=70)
    patch(shown, rollout={"promote": {"revision": new}})
    wait_ready(shown, NAME, timeout_s=120)
    assert {ask(gateway).headers["x-forebay-revision"] for _ in range(20)} == {new}
    wait_pods(shown, "", "blue")
    before = uids_of(shown, "")
    go_back(shown, NAME)
    wait_ready(shown, NAME)
    wait_pods(shown, "")
    assert uids_of(shown, "") == before, "nothing was started anew"
    assert {ask(gateway).headers["x-forebay-revision"] for _ in range(20)} == {old}
