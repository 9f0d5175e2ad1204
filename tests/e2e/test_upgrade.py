"""Forebay itself comes and goes while a model serves: upgraded, uninstalled, installed again. It runs late (LAST)."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.e2e import installation
from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.installation import CHART, RELEASE, ROOT, SYSTEM
from tests.e2e.load import Load
from tests.e2e.models import (
    DOUBLE,
    ask,
    build_doubler,
    describe,
    is_ready,
    list_pods,
    read_status,
    wait_ready,
)

pytestmark = pytest.mark.timeout(300)

NAMESPACE = "test-upgrade"
CRD = "customresourcedefinition/modeldeployments.forebay.dev"
RATE = 30


@pytest.fixture(scope="module")
def previous_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart as it was before its last change, committed or not."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout

    dirty = bool(git("status", "--porcelain", "--", "charts/forebay").strip())
    commits = git("log", "-2", "--format=%H", "--", "charts/forebay").decode().split()
    if len(commits) < (1 if dirty else 2):
        pytest.skip("this clone has no chart before this one")
    folder = tmp_path_factory.mktemp("chart")
    content = git("archive", commits[0 if dirty else 1], "charts/forebay")
    with tarfile.open(fileobj=BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "charts/forebay"


@pytest.fixture(scope="module")
def models(namespace: Kubectl, gateway: str, previous_chart: Path) -> Kubectl:
    """Two instances of a doubler, under the chart before."""
    installation.install(namespace, previous_chart)
    namespace.apply(build_doubler("doubler", replicas=2))
    wait_ready(namespace, "doubler")
    return namespace


def test_an_upgrade_fails_no_request(models: Kubectl, gateway: str) -> None:
    """From the chart before, in images as they are now, to this one: pods of operators and gateways are made anew."""
    models("annotate", CRD, "example.com/of=before", "--overwrite")
    before = {pod["metadata"]["uid"] for pod in installation.list_pods(models)}
    served = {pod["metadata"]["uid"] for pod in list_pods(models, "doubler")}
    tensor = ("x", np.array([[1, 2]], np.float32))
    path = f"/{NAMESPACE}/doubler/v2/models/doubler/infer"
    with Load(gateway, path=path, body=DOUBLE, tensor=tensor, rate=RATE) as load:
        # As a new version would: other pods.
        extra = (
            "--set-string=operator.podAnnotations.version=this",
            "--set-string=gateway.podAnnotations.version=this",
            "--set-string=metrics.podAnnotations.version=this",
        )
        installation.install(models, CHART, *extra)
        load.wait_for(RATE)
    load.check()
    assert not before & {pod["metadata"]["uid"] for pod in installation.list_pods(models)}
    # The models' own pods go on.
    assert {pod["metadata"]["uid"] for pod in list_pods(models, "doubler")} == served
    wait_ready(models, "doubler")
    wanted = installation.helm(
        models, "template", RELEASE, CHART, "--show-only=templates/crds/forebay.dev_modeldeployments.yaml"
    )
    assert models("diff", "--server-side", "--force-conflicts", "-f", "-", given=wanted) == ""


def test_without_forebay_models_run_on_but_nobody_reaches_them_through_it(models: Kubectl, gateway: str) -> None:
    children = list_children(models)
    served = {pod["metadata"]["uid"] for pod in list_pods(models, "doubler")}
    installation.helm(models, "uninstall", RELEASE, "--wait", f"--timeout={installation.ROLLOUT_S}s")
    eventually(lambda: not installation.list_pods(models), timeout_s=90)
    assert not models.run("get", CRD).stderr, "what people made stays"
    assert read_status(models, "doubler")["activeRevision"]
    assert list_children(models) == children
    pods = list_pods(models, "doubler")
    assert {pod["metadata"]["uid"] for pod in pods} == served
    assert all(is_ready(pod) for pod in pods)
    # The gateway is part of what was uninstalled.
    with pytest.raises(httpx.TransportError):
        ask(gateway, NAMESPACE, "doubler")
    for pod in pods:
        url = f"http://{pod['status']['podIP']}:8080/v2/models/doubler/infer"
        assert httpx.post(url, json=DOUBLE, trust_env=False, timeout=10).status_code == 200
    # Kubernetes looks after them: a pod that goes is made again.
    models("delete", "pod", pods[0]["metadata"]["name"], "--wait=false")
    eventually(lambda: sum(is_ready(pod) for pod in list_pods(models, "doubler")) == 2, timeout_s=60)


def test_objects_can_be_made_and_deleted_without_it(models: Kubectl) -> None:
    models.apply(build_doubler("orphan"), build_doubler("waiting"))
    assert "finalizers" not in models.get("md", "doubler")["metadata"]
    models("delete", "md", "orphan", "--timeout=10s")
    row = models("get", "md", "waiting", "--no-headers").split()
    assert row[1:3] == ["Unknown", "Pending"]


def test_installed_again_it_goes_on_where_it_was(models: Kubectl) -> None:
    before, children = read_status(models, "doubler"), list_children(models)
    served = {pod["metadata"]["uid"] for pod in list_pods(models, "doubler")}
    installation.install(models, CHART)
    gateway = installation.find_gateway(models)
    wait_ready(models, "doubler", "waiting")

    def answers() -> bool:
        return all(ask(gateway, NAMESPACE, name).status_code == 200 for name in ("doubler", "waiting"))

    eventually(answers, explain=lambda: describe(models, "doubler"))
    after = read_status(models, "doubler")
    assert after["activeRevision"] == before["activeRevision"]
    assert {pod["metadata"]["uid"] for pod in list_pods(models, "doubler")} == served
    assert list_children(models) == children, "they are taken over as they are"


def test_deleted_without_an_operator_its_children_go_too(models: Kubectl) -> None:
    system = models.within(SYSTEM)
    system("scale", "deployment/forebay-operator", "--replicas=0")
    eventually(lambda: not installation.list_pods(models, "operator"), timeout_s=60)
    models("delete", "md", "doubler", "--timeout=10s")
    eventually(lambda: not list_children(models), timeout_s=60)
    system("scale", "deployment/forebay-operator", "--replicas=2")
    eventually(lambda: sum(is_ready(pod) for pod in installation.list_pods(models, "operator")) == 2, timeout_s=60)


def list_children(models: Kubectl) -> dict[str, tuple[str, int | None]]:
    """The doubler's children: who they are, and how often they were changed where that is counted."""
    kinds = "deployments,services,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies"
    found = models.get(kinds, "--selector=app.kubernetes.io/instance=doubler")["items"]
    return {
        f"{each['kind']}/{each['metadata']['name']}": (each["metadata"]["uid"], each["metadata"].get("generation"))
        for each in found
    }
