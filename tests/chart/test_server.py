"""The chart at a real apiserver: installed, upgraded from the chart before, uninstalled; and who may do what then."""

import json
import re
import shlex
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from tests.api.apiserver import ControlPlane
from tests.chart.charts import CHART, HELM, NAMESPACE, ROOT, Json, of_kind, render
from tests.chart.test_render import FOREIGN, SETS, render_set

MODEL = {
    "apiVersion": "forebay.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "digits", "namespace": "vision"},
    "spec": {"model": {"uri": "s3://models/digits"}, "predictor": {"triton": {}}},
}
OPERATOR = f"system:serviceaccount:{NAMESPACE}:forebay-operator"
GATEWAY = f"system:serviceaccount:{NAMESPACE}:forebay-gateway"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        for name in (NAMESPACE, "vision", "speech"):
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            plane.kubectl("apply", "-f", "-", given=json.dumps(namespace))
        yield plane


def helm(plane: ControlPlane, *arguments: str | Path) -> str:
    command = [HELM, "--kubeconfig", plane.kubeconfig, "--namespace", NAMESPACE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_previous_chart(folder: Path) -> Path:
    """The chart as it was before the last change, committed or not."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout

    dirty = bool(git("status", "--porcelain", "--", "charts/forebay").strip())
    commits = git("log", "-2", "--format=%H", "--", "charts/forebay").decode().split()
    if len(commits) < (1 if dirty else 2):
        pytest.skip("this clone has no chart before this one")
    commit = commits[0 if dirty else 1]
    with tarfile.open(fileobj=BytesIO(git("archive", commit, "charts/forebay"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "charts/forebay"


def may(plane: ControlPlane, who: str, verb: str, what: str, namespace: str) -> bool:
    asked = plane.kubectl("auth", "can-i", verb, what, "--namespace", namespace, "--as", who, check=False)
    return asked.stdout.strip() == "yes"


def test_upgraded_from_the_chart_before_and_uninstalled(plane: ControlPlane, tmp_path: Path):
    helm(plane, "install", "forebay", read_previous_chart(tmp_path))
    plane.kubectl("apply", "-f", "-", given=json.dumps(MODEL))
    helm(plane, "upgrade", "forebay", CHART)
    notes = helm(plane, "get", "notes", "forebay")
    assert "kubectl apply" in notes

    crd = json.loads(plane.kubectl("get", "crd", "modeldeployments.forebay.dev", "-o", "json").stdout)
    wanted = {each["metadata"]["name"]: each["spec"] for each in of_kind(render(), "CustomResourceDefinition")}
    assert crd["spec"]["versions"][0]["schema"] == wanted["modeldeployments.forebay.dev"]["versions"][0]["schema"]

    helm(plane, "uninstall", "forebay")
    left = plane.kubectl("get", "all,cm,sa,role,rolebinding,pdb,networkpolicy", "-n", NAMESPACE, "-o", "name").stdout
    assert "forebay" not in left
    assert "forebay" not in plane.kubectl("get", "clusterrole,clusterrolebinding", "-o", "name").stdout
    assert "digits" in plane.kubectl("get", "md", "-n", "vision", "-o", "name").stdout

    # What was kept is taken over.
    helm(plane, "install", "forebay", CHART)
    helm(plane, "uninstall", "forebay")


def test_the_readmes_installations(plane: ControlPlane):
    """Each as it stands there, but for its namespace, up to where it would be written."""
    text = (CHART / "README.md").read_text().replace("\\\n", "")
    commands = [shlex.split(each) for each in re.findall(r"^helm install .*$", text, re.MULTILINE)]
    assert len(commands) >= 4
    for command in commands:
        options = [each for each in command[4:] if each != "--create-namespace"]
        # The CRDs that are there are kept for one of this namespace.
        options[options.index("--namespace") + 1] = NAMESPACE
        done = subprocess.run(
            [HELM, "--kubeconfig", plane.kubeconfig, "install", "forebay", CHART, *options, "--dry-run=server"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, (command, done.stderr)


def test_the_readmes_columns(plane: ControlPlane):
    helm(plane, "install", "forebay", CHART)
    try:
        plane.kubectl("apply", "-f", "-", given=json.dumps(MODEL))
        condition = {"type": "Autoscaling", "status": "True", "reason": "Following", "message": "2 to 4 instances"}
        status = {"conditions": [{**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
        patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
        plane.kubectl("patch", "md", "digits", "-n", "vision", *patch)
        (command,) = re.findall(r"^kubectl (get md .*)$", (CHART / "README.md").read_text(), re.MULTILINE)
        assert "2 to 4 instances" in plane.kubectl(*shlex.split(command), "-n", "vision").stdout
    finally:
        helm(plane, "uninstall", "forebay")


def test_who_has_the_metrics_api_is_left_it(plane: ControlPlane):
    """Another's, as prometheus-adapter's, is not taken over: that would end what others scale by."""
    theirs = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta2.custom.metrics.k8s.io"},
        "spec": {
            "group": "custom.metrics.k8s.io",
            "version": "v1beta2",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "prometheus-adapter", "namespace": "monitoring"},
        },
    }
    plane.kubectl("apply", "-f", "-", given=json.dumps(theirs))
    try:
        command = [HELM, "--kubeconfig", plane.kubeconfig, "--namespace", NAMESPACE, "install", "forebay", CHART]
        refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert "the cluster's custom-metrics API is monitoring/prometheus-adapter's already" in refused.stderr
        helm(plane, "install", "forebay", CHART, "--set", "autoscaling.provider=prometheus-adapter")
        rules = plane.get("configmap", "forebay-adapter", "-n", NAMESPACE)["data"]["config.yaml"]
        assert "forebay_queue" in rules
        helm(plane, "uninstall", "forebay")
        left = plane.get("apiservice", "v1beta2.custom.metrics.k8s.io")
        assert left["spec"]["service"]["name"] == "prometheus-adapter"
    finally:
        plane.kubectl("delete", "apiservice", "v1beta2.custom.metrics.k8s.io")


def test_who_may_do_what(plane: ControlPlane):
    helm(plane, "install", "forebay", CHART)
    try:
        assert may(plane, OPERATOR, "patch", "deployments.apps", "speech")
        assert may(plane, OPERATOR, "update", "leases.coordination.k8s.io/forebay-operator", NAMESPACE)
        assert not may(plane, OPERATOR, "get", "secrets", "speech")
        assert not may(plane, OPERATOR, "update", "leases.coordination.k8s.io/another", NAMESPACE)
        assert may(plane, GATEWAY, "get", "secrets", "speech")
        assert not may(plane, GATEWAY, "list", "secrets", "speech")
        assert not may(plane, GATEWAY, "patch", "modeldeployments.forebay.dev", "speech")
    finally:
        helm(plane, "uninstall", "forebay")


def test_some_namespaces_and_no_other(plane: ControlPlane):
    helm(plane, "install", "forebay", CHART, "--set", "watchNamespaces={vision}")
    try:
        for who, verb, what in ((OPERATOR, "patch", "deployments.apps"), (GATEWAY, "get", "secrets")):
            assert may(plane, who, verb, what, "vision")
            assert not may(plane, who, verb, what, "speech")
        assert may(plane, OPERATOR, "list", "pods", NAMESPACE)
        assert may(plane, GATEWAY, "watch", "endpointslices.discovery.k8s.io", NAMESPACE)
        assert not may(plane, OPERATOR, "patch", "deployments.apps", NAMESPACE)
    finally:
        helm(plane, "uninstall", "forebay")


def test_the_install_manifest_applies(plane: ControlPlane):
    manifest = ROOT / "operator/forebay/install/manifests.yaml"
    applied = plane.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", manifest).stdout
    assert "deployment.apps/forebay-gateway serverside-applied (server dry run)" in applied


def test_the_apiserver_takes_all_sets_of_values(plane: ControlPlane):
    """Kubernetes checks more than its schema says: ports, references inside a pod, Pod Security."""
    manifests = [manifest for place in range(len(SETS)) for manifest in render_set(place)]
    manifests += [build_pod(each) for each in of_kind(manifests, "Deployment")]
    ours = [each for each in manifests if not each["apiVersion"].startswith(FOREIGN)]
    # The agent of the nodes' cache has one of its own.
    for name in {each["metadata"].get("namespace", NAMESPACE) for each in ours}:
        if plane.kubectl("get", "namespace", name, check=False).returncode:
            plane.kubectl("create", "namespace", name)
    with plane.client() as client:
        # Most are the same in many sets.
        for text in {json.dumps(each) for each in ours if each["kind"] != "CustomResourceDefinition"}:
            # 65535 is beyond the node ports that this apiserver gives.
            apply_dry(client, json.loads(text.replace('"nodePort": 65535', '"nodePort": 32767')))


def apply_dry(client: httpx.Client, manifest: Json) -> None:
    group, _, version = manifest["apiVersion"].rpartition("/")
    metadata, kind = manifest["metadata"], manifest["kind"].lower()
    plural = kind.removesuffix("y") + "ies" if kind.endswith("y") else kind + ("es" if kind.endswith("ss") else "s")
    steps = ["apis", group, version] if group else ["api", version]
    steps += ["namespaces", metadata["namespace"]] if "namespace" in metadata else []
    answer = client.patch(
        "/" + "/".join([*steps, plural, metadata["name"]]),
        params={"dryRun": "All", "fieldManager": "test", "fieldValidation": "Strict"},
        content=json.dumps(manifest),
        headers={"content-type": "application/apply-patch+yaml"},
    )
    assert answer.is_success, answer.text


def build_pod(deployment: Json) -> Json:
    """A pod of a Deployment: Pod Security looks at pods alone."""
    # The class exists on a cluster with nodes.
    spec = {**deployment["spec"]["template"]["spec"], "priorityClassName": ""}
    name = deployment["metadata"]["name"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
