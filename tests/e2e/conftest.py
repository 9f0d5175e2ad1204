"""A real cluster for the tests here: `FOREBAY_E2E=1 hack/test tests/e2e`. Without the variable they are skipped.

FOREBAY_KUBECONFIG names that of an existing test cluster, beside which images.yaml says what images it can pull.
"""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e import installation
from tests.e2e.bucket import Bucket, serve_bucket
from tests.e2e.cluster import CONTEXT, Kubectl, hack_cluster
from tests.e2e.models import DIGITS

# These throw away what the others stand on.
LAST = ("test_upgrade", "test_cluster_restart")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        return LAST.index(item.path.stem) if item.path.stem in LAST else -1

    items.sort(key=rank)


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    if os.environ.get("FOREBAY_E2E") != "1":
        pytest.skip("set FOREBAY_E2E=1 to start a cluster and test on it")
    found = Kubectl(os.environ.get("FOREBAY_KUBECONFIG") or start_cluster())
    context = found("config", "current-context").strip()
    # The tests delete namespaces and CRDs.
    assert context == CONTEXT or context.startswith("kind-"), f"{context} is no test cluster: {CONTEXT} or kind-... is"
    return found


def start_cluster() -> str:
    """Its kubeconfig."""
    # The first start builds Kubernetes.
    started = hack_cluster("up", "--gpus", "4", timeout_s=3600)
    assert started.returncode == 0, started.stderr
    return hack_cluster("kubeconfig").stdout.strip()


@pytest.fixture(scope="session")
def gateway(kubectl: Kubectl) -> str:
    """HOST:PORT of the gateway. Forebay is installed from this checkout."""
    if not os.environ.get("FOREBAY_KUBECONFIG"):
        installation.build_images()
    installation.install(kubectl)
    return installation.find_gateway(kubectl)


@pytest.fixture(scope="session")
def bucket(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """An S3 server with the digits example's Triton repository in it, as s3://models/digits."""
    if not (DIGITS / "build/repository").exists():
        subprocess.run([sys.executable, DIGITS / "prepare.py"], check=True, timeout=300)
    node = kubectl.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    with serve_bucket(tmp_path_factory.mktemp("bucket"), node=node) as bucket:
        bucket.put_folder("digits", DIGITS / "build/repository")
        yield bucket


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in a namespace of the module's own, which enforces Pod Security `restricted`."""
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    # What an interrupted run left.
    kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=120s", timeout_s=130)
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield kubectl.within(name)
    kubectl.run("delete", "namespace", name, "--wait=false")
