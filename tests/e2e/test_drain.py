"""No request fails while pods go: by hand, by a drained node, by scaling, by rollouts, by crashes of the operator's."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e import installation
from tests.e2e.bucket import Bucket
from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.load import Load
from tests.e2e.models import (
    build_digits,
    build_secret,
    describe,
    find_condition,
    is_ready,
    list_pictures,
    list_pods,
    read_status,
    wait_ready,
)

pytestmark = pytest.mark.timeout(240)

NAMESPACE = "test-drain"
RATE = 30
SELECTOR = "app.kubernetes.io/instance=digits"


@pytest.fixture(scope="module")
def digits(namespace: Kubectl, gateway: str, bucket: Bucket) -> Kubectl:
    """digits, two instances of each kind."""
    namespace.apply(build_secret("store", bucket.credentials))
    manifest = build_digits(uri="s3://models/digits", secret="store")
    for part in ("predictor", "transformer"):
        manifest["spec"][part]["replicas"] = 2
    namespace.apply(manifest)
    wait_ready(namespace, "digits")
    return namespace


@pytest.fixture
def load(digits: Kubectl, gateway: str) -> Iterator[Load]:
    """A load for as long as a test lasts: at its end, every request was answered well."""
    picture = list_pictures()[0].read_bytes()
    tensor = ("image", np.zeros((1, 64), np.float32))
    with Load(gateway, path=f"/{NAMESPACE}/digits/predict", body=picture, tensor=tensor, rate=RATE) as load:
        yield load
        load.wait_for(RATE)
    load.check()


def wait_settled(digits: Kubectl, pods: int = 4) -> None:
    """Until so many pods are there and ready, and no other is still on its way out."""

    def is_settled() -> bool:
        found = digits.get("pods", f"--selector={SELECTOR}")["items"]
        return len(found) == pods and all(is_ready(pod) for pod in found)

    eventually(is_settled, timeout_s=120, explain=lambda: describe(digits, "digits"))
    wait_ready(digits, "digits")


@pytest.mark.parametrize("role", ["predictor", "transformer"])
def test_pods_are_deleted_one_by_one(digits: Kubectl, load: Load, role: str) -> None:
    for pod in list_pods(digits, "digits", role):
        digits("delete", "pod", pod["metadata"]["name"], "--timeout=90s", timeout_s=100)
        wait_settled(digits)
    load.wait_for(RATE)


def test_a_node_is_drained(digits: Kubectl, load: Load) -> None:
    """There is but one node, so that evicted pods wait for it to be uncordoned: as the budget has it, one at a time."""
    (node,) = digits.get("nodes")["items"]
    name = node["metadata"]["name"]
    before = {pod["metadata"]["uid"] for pod in list_pods(digits, "digits")}
    selector = f"--pod-selector={SELECTOR},app.kubernetes.io/component=predictor"
    command = [digits.program, f"--kubeconfig={digits.kubeconfig}", "drain", name, selector, "--timeout=120s"]
    command += ["--delete-emptydir-data"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as drain:
        try:
            # The first goes, and its successor finds no node; the other is kept by the budget.
            budget = f"poddisruptionbudgets/{'digits-predictor'}"
            eventually(lambda: digits.get(budget)["status"]["currentHealthy"] == 1, timeout_s=60)
            load.wait_for(RATE * 3)
            assert sum(is_ready(pod) for pod in list_pods(digits, "digits", "predictor")) == 1
            condition = find_condition(read_status(digits, "digits"))
            assert condition["reason"] == "Unschedulable"
            assert "uncordon" in condition["message"]
            assert drain.poll() is None
        finally:
            # With a place for the first, the second may go.
            digits("uncordon", name)
        said, _ = drain.communicate(timeout=130)
    assert drain.returncode == 0, said
    assert said.count("Cannot evict pod as it would violate the pod's disruption budget") >= 1, said
    wait_settled(digits)
    after = {pod["metadata"]["uid"] for pod in list_pods(digits, "digits")}
    assert len(after - before) == 2, said


def test_scaled_down_and_up(digits: Kubectl, load: Load) -> None:
    patch: dict[str, Any]
    for replicas in (1, 2):
        patch = {"spec": {part: {"replicas": replicas} for part in ("predictor", "transformer")}}
        digits("patch", "md", "digits", "--type=merge", "-p", json.dumps(patch))
        wait_ready(digits, "digits")
        wait_settled(digits, replicas * 2)
    load.wait_for(RATE)


def test_a_new_revision_of_both(digits: Kubectl, load: Load) -> None:
    before = read_status(digits, "digits")["activeRevision"]
    template = {"podTemplate": {"metadata": {"labels": {"round": "second"}}}}
    patch = {"spec": {"predictor": template, "transformer": template}}
    digits("patch", "md", "digits", "--type=merge", "-p", json.dumps(patch))
    wait_ready(digits, "digits")
    wait_settled(digits)
    assert read_status(digits, "digits")["activeRevision"] != before
    load.wait_for(RATE)


def test_operators_are_killed(digits: Kubectl, load: Load) -> None:
    kill(digits, "forebay.controller", wanted=2)
    load.wait_for(RATE * 2)
    eventually(lambda: are_ready(digits, "operator"), timeout_s=60)
    # They do their work again.
    digits("annotate", "md", "digits", "--overwrite", "example.com/seen=1")
    wait_ready(digits, "digits")
    patch = {"spec": {"transformer": {"replicas": 3}}}
    digits("patch", "md", "digits", "--type=merge", "-p", json.dumps(patch))
    wait_settled(digits, 5)
    patch["spec"]["transformer"]["replicas"] = 2
    digits("patch", "md", "digits", "--type=merge", "-p", json.dumps(patch))
    wait_settled(digits)


def test_pilots_are_killed(digits: Kubectl, load: Load) -> None:
    kill(digits, "forebay.gateway", wanted=2)
    load.wait_for(RATE * 2)
    eventually(lambda: are_ready(digits, "gateway"), timeout_s=60)
    eventually(lambda: all(f"{NAMESPACE}/digits" in each for each in installation.read_routes(digits)))
    # What they missed they catch up with.
    (first, *_) = list_pods(digits, "digits", "transformer")
    digits("delete", "pod", first["metadata"]["name"], "--timeout=90s", timeout_s=100)
    wait_settled(digits)


def test_a_gateway_is_deleted(digits: Kubectl, load: Load) -> None:
    """Its clients find the other one behind the Service's address."""
    (first, *_) = installation.list_pods(digits, "gateway")
    system = digits.within(installation.SYSTEM)
    system("delete", "pod", first["metadata"]["name"], "--timeout=60s", timeout_s=70)
    load.wait_for(RATE * 3)
    eventually(lambda: are_ready(digits, "gateway"), timeout_s=60)


def are_ready(kubectl: Kubectl, component: str) -> bool:
    pods = installation.list_pods(kubectl, component)
    return len(pods) == 2 and all(is_ready(pod) for pod in pods)


def kill(kubectl: Kubectl, module: str, *, wanted: int, pods: list[dict[str, Any]] | None = None) -> None:
    """End processes of Forebay's pods, or of some of them, as a crash would. The node is this machine: they are among
    its own.
    """
    uids = {pod["metadata"]["uid"] for pod in pods or installation.list_pods(kubectl)}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            cgroup = (folder / "cgroup").read_text()
        except OSError:
            continue
        if module.encode() in arguments and any(uid in cgroup for uid in uids):
            found.append(int(folder.name))
    assert len(found) == wanted, found
    for pid in found:
        os.kill(pid, signal.SIGKILL)
