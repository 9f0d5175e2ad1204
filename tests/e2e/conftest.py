"""A real cluster for the tests here: `FOREBAY_E2E=1 hack/test tests/e2e`. Without the variable they are skipped."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import CONTEXT, Kubectl, hack_cluster


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    if os.environ.get("FOREBAY_E2E") != "1":
        pytest.skip("set FOREBAY_E2E=1 to start a cluster and test on it")
    # The first start builds Kubernetes.
    started = hack_cluster("up", "--gpus", "4", timeout_s=3600)
    assert started.returncode == 0, started.stderr
    found = Kubectl(hack_cluster("kubeconfig").stdout.strip())
    context = found("config", "current-context").strip()
    assert context == CONTEXT, f"{context} is no test cluster"
    return found


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in a namespace of the module's own, which enforces Pod Security `restricted`."""
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    # What an interrupted run left.
    kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=60s", timeout_s=70)
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield kubectl.within(name)
    kubectl.run("delete", "namespace", name, "--wait=false")
