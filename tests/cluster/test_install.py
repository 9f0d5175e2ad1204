"""forebay install and uninstall, against a real apiserver. The test plays the kubelet: it writes what pods become."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.apiserver import ControlPlane
from tests.cluster.conftest import Command

Json = dict[str, Any]
IMAGES = {"operator": "registry.test/o:1", "runtime": "registry.test/r:1", "envoy": "registry.test/e:1"}
EMPTY = ("get", "deployments,services,serviceaccounts,configmaps,pdb", "-l", "app.kubernetes.io/name=forebay")


class Kubelet(threading.Thread):
    """Gives every pod of a namespace a status, until it is stopped."""

    def __init__(self, plane: ControlPlane, namespace: str, status: Json) -> None:
        super().__init__(daemon=True)
        self.api, self.path, self.status = plane.client(), f"/api/v1/namespaces/{namespace}/pods", {"status": status}
        self.stopped = threading.Event()

    def run(self) -> None:
        headers = {"content-type": "application/merge-patch+json"}
        while not self.stopped.wait(0.3):
            for pod in self.api.get(self.path).json()["items"]:
                path = f"{self.path}/{pod['metadata']['name']}/status"
                self.api.patch(path, json=self.status, headers=headers)

    def __enter__(self) -> "Kubelet":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.join()


def is_true(kind: str) -> Json:
    return {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


RUNNING = {"phase": "Running", "conditions": [is_true("Ready"), is_true("PodScheduled")]}
NO_IMAGE = {
    "containerStatuses": [
        {
            "name": "operator", "image": "registry.test/o:1", "imageID": "", "ready": False, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not present with pull policy of Never"}},
        }
    ]
}  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> Path:
    file = tmp_path / "images.yaml"
    file.write_text(yaml.safe_dump({"images": IMAGES}))
    return file


@pytest.fixture(scope="module", autouse=True)
def nothing_left(plane: ControlPlane) -> Iterator[None]:
    yield
    plane.kubectl("delete", "crd", "modeldeployments.forebay.dev", "--ignore-not-found")


def test_installs_again_and_uninstalls(plane: ControlPlane, forebay: Command, images: Path) -> None:
    with Kubelet(plane, "forebay-system", RUNNING):
        done = forebay("install", "--images", images, "--image", "triton=registry.test/t:1", timeout_s=240)
    assert done.returncode == 0, done.stderr
    assert "• Deployment forebay-operator applied" in done.stdout
    assert "• forebay-gateway is available: 2 instances" in done.stdout
    assert "Next:\n  kubectl apply -f FILE.yaml" in done.stdout
    check_images(plane.get("deployments", "-n", "forebay-system")["items"])
    with Kubelet(plane, "forebay-system", RUNNING):
        again = forebay("install", "--images", images, "--image", "triton=registry.test/t:1", timeout_s=240)
    assert again.returncode == 0
    assert " applied" not in again.stdout
    looks_installed(plane, forebay)
    gone = forebay("uninstall")
    assert gone.returncode == 0, gone.stderr
    assert "ClusterRole forebay-operator deleted" in gone.stdout
    assert "Namespace forebay-system deleted" in gone.stdout
    assert (
        "kept: the CRDs imagebuilds.forebay.dev, modeldeployments.forebay.dev, modelversions.forebay.dev and "
        "nodecaches.forebay.dev, and 0 ModelDeployments" in gone.stdout
    )
    assert plane.kubectl(*EMPTY, "-A", "-o", "name").stdout == ""
    assert plane.kubectl("get", "crd", "-o", "name").stdout.count(".forebay.dev") == 4


def check_images(deployments: list[Json]) -> None:
    containers = {
        each["name"]: each
        for deployment in deployments
        for each in deployment["spec"]["template"]["spec"]["containers"]
    }
    assert {name: each["image"] for name, each in containers.items()} == {
        "operator": "registry.test/o:1", "pilot": "registry.test/o:1", "metrics": "registry.test/o:1",
        "envoy": "registry.test/e:1",
    }  # fmt: skip
    variables = {each["name"]: each.get("value") for each in containers["operator"]["env"]}
    assert variables["FOREBAY_IMAGE_TRITON"] == "registry.test/t:1"
    assert variables["FOREBAY_IMAGE_RUNTIME"] == "registry.test/r:1"
    assert variables["FOREBAY_IMAGE_ENVOY"] == "registry.test/e:1"


def looks_installed(plane: ControlPlane, forebay: Command) -> None:
    """All that `forebay check` can find without nodes."""
    done = forebay("check")
    assert "✓ the CRD modeldeployments.forebay.dev is installed, and of this version" in done.stdout
    assert "✓ the gateway forebay-system/forebay-gateway runs: 2/2 instances" in done.stdout
    assert "✗ no operator leads" in done.stdout
    assert "✗ no node is ready" in done.stdout
    assert "2 things are missing (context forebay-test, namespace default)" in done.stdout
    assert done.returncode == 1


def test_another_metrics_api_stays_as_it_is(plane: ControlPlane, forebay: Command, images: Path) -> None:
    name = "v1beta2.custom.metrics.k8s.io"
    spec = {
        "group": "custom.metrics.k8s.io", "version": "v1beta2", "groupPriorityMinimum": 100, "versionPriority": 100,
        "service": {"name": "prometheus-adapter", "namespace": "monitoring"},
    }  # fmt: skip
    api = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}, "spec": spec}
    plane.kubectl("apply", "-f", "-", given=yaml.safe_dump(api))
    try:
        with Kubelet(plane, "beside", RUNNING):
            done = forebay("install", "-n", "beside", "--images", images, timeout_s=240)
        assert done.returncode == 0, done.stderr
        assert "custom-metrics API is monitoring/prometheus-adapter's and stays so" in done.stdout
        assert "forebay-metrics" not in plane.kubectl("get", "deployments", "-n", "beside").stdout
        assert forebay("uninstall", "-n", "beside").returncode == 0
        assert plane.get("apiservice", name)["spec"]["service"]["name"] == "prometheus-adapter"
    finally:
        plane.kubectl("delete", "apiservice", name)


def test_says_which_image_is_missing(plane: ControlPlane, forebay: Command) -> None:
    with Kubelet(plane, "elsewhere", NO_IMAGE):
        done = forebay("install", "-n", "elsewhere", "--timeout", "8", timeout_s=240)
    assert done.returncode == 1
    assert " does not start: pod forebay-" in done.stderr
    assert "ErrImageNeverPull: not present with pull policy of Never (image registry.test/o:1; another" in done.stderr
    subjects = plane.get("clusterrolebinding", "forebay-operator")["subjects"]
    assert [each["namespace"] for each in subjects] == ["elsewhere"]
    plane.kubectl("create", "secret", "generic", "-n", "elsewhere", "theirs")
    gone = forebay("uninstall", "-n", "elsewhere")
    assert "namespace elsewhere stays: there are others' objects in it, such as Secret theirs" in gone.stdout


def test_crds_take_all_model_deployments_along(plane: ControlPlane, forebay: Command) -> None:
    plane.install_crds()
    manifest = {
        "apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m"},
        "spec": {"predictor": {"custom": {"image": "registry.test/m:1"}}},
    }  # fmt: skip
    plane.kubectl("apply", "-f", "-", given=yaml.safe_dump(manifest))
    version = {
        "apiVersion": "forebay.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": "m-1"},
        "spec": {"model": "m", "version": "1", "uri": "s3://models/m/1"},
    }  # fmt: skip
    plane.kubectl("apply", "-f", "-", given=yaml.safe_dump(version))
    asked = forebay("uninstall", "--crds")
    assert asked.returncode == 1
    assert (
        "--crds deletes all 1 ModelDeployments and 1 ModelVersions of all namespaces: write --yes if you mean it"
        in asked.stderr
    )
    kept = forebay("uninstall")
    assert "and 1 ModelDeployments. Their pods run on" in kept.stdout
    gone = forebay("uninstall", "--crds", "--yes")
    assert gone.returncode == 0
    assert "CustomResourceDefinition modeldeployments.forebay.dev deleted" in gone.stdout


def test_leaves_to_helm_what_is_helms(plane: ControlPlane, forebay: Command) -> None:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "registry.test/x:1"}]}}
    found = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "forebay-operator", "annotations": {"meta.helm.sh/release-name": "theirs"}},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }  # fmt: skip
    plane.kubectl("create", "namespace", "by-helm")
    plane.kubectl("apply", "-n", "by-helm", "-f", "-", given=yaml.safe_dump(found))
    for command in ("install", "uninstall"):
        done = forebay(command, "-n", "by-helm")
        assert done.returncode == 1
        assert "installed with Helm here, as release theirs: use `helm upgrade theirs -n by-helm`" in done.stderr


def test_a_dry_run_needs_no_cluster(forebay: Command, images: Path) -> None:
    done = forebay("install", "--dry-run", "-n", "mine", "--images", images, KUBECONFIG="/none")
    assert done.returncode == 0
    objects = list(yaml.safe_load_all(done.stdout))
    # The right to read by which certificates the apiserver comes is given where these are told.
    assert {each["metadata"].get("namespace", "mine") for each in objects} == {"mine", "kube-system"}
    (api,) = [each["spec"]["service"] for each in objects if each["kind"] == "APIService"]
    assert (api["namespace"], api["name"]) == ("mine", "forebay-metrics")
    check_dry_run = {each["kind"] for each in objects}
    assert {"Namespace", "CustomResourceDefinition", "Deployment", "ClusterRoleBinding"} <= check_dry_run
    assert "forebay-system" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--image", "operator"), "--image operator: write NAME=REFERENCE"),
        (("--image", "tritn=a"), "there is no image tritn: there are operator, runtime, triton, envoy"),
        (("--images", "{folder}/list.yaml"), "list.yaml: write `images:`, and below it any of operator, runtime"),
        (("--images", "{folder}/none.yaml"), "No such file or directory ({folder}/none.yaml)"),
        (("--kubeconfig", "/none"), "the kubeconfig /none is not a file"),
        (("--context", "forebay-tst"), "has no context forebay-tst: did you mean forebay-test?"),
    ],
)
def test_wrong_options(forebay: Command, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "list.yaml").write_text("- a\n")
    done = forebay("install", *(each.format(folder=tmp_path) for each in arguments))
    assert done.returncode == 1
    assert message.format(folder=tmp_path) in done.stderr
