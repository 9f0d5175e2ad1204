"""What is told of autoscaling, and who scales, beside a real apiserver with and without KEDA's CRD."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from forebay.kube.resources import AUTOSCALER, SCALED_OBJECT
from tests.api.apiserver import ControlPlane
from tests.chart.charts import nest, of_kind, render
from tests.controller.keda import find_crd
from tests.controller.site import (
    SCALED,
    TRITON,
    WITH_TRANSFORMER,
    Cluster,
    Json,
    Nodes,
    Operator,
    wait_for,
    write_kubeconfig,
)

SYSTEM = "forebay-system"
QUEUED: Json = {"model": TRITON["model"], "predictor": {"triton": {}, "autoscaling": {"min": 2, "max": 4}}}

MERGE = "application/merge-patch+json"


def say(cluster: Cluster, namespace: str, *, usage: str, **says: tuple[str, str]) -> None:
    """What an autoscaler would write after a look at the load."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    conditions = [
        {"type": type_, "status": status, "reason": reason, "message": reason, "lastTransitionTime": now}
        for type_, (status, reason) in says.items()
    ]
    metric = {"name": "forebay_queue"}
    current = [{"type": "Pods", "pods": {"metric": metric, "current": {"averageValue": usage}}}]
    status = {"currentReplicas": 2, "desiredReplicas": 2, "currentMetrics": current, "conditions": conditions}
    for found in cluster.list_all(AUTOSCALER, namespace):
        path = AUTOSCALER.path(namespace=namespace, name=found["metadata"]["name"], subresource="status")
        cluster.write("PATCH", path, {"status": status}, form=MERGE, fieldManager="kube-controller-manager")


ACTIVE, ABLE = ("True", "ValidMetricFound"), ("True", "ReadyForNewScale")


def wait_autoscaling(cluster: Cluster, namespace: str, reason: str) -> Json:
    return wait_for(
        lambda: (
            (found := cluster.condition(namespace, type_="Autoscaling")).get("reason") == reason and found
        ),
        why=lambda: f"{reason}: {cluster.condition(namespace, type_='Autoscaling')}",
    )  # fmt: skip


def test_what_an_autoscaler_says_is_told_and_what_it_measures_is_not(
    cluster: Cluster, operator: Operator, namespace: str
) -> None:
    cluster.create(namespace, QUEUED)
    cluster.wait_reason(namespace, "Ready")
    assert cluster.condition(namespace, type_="Autoscaling")["status"] == "Unknown"
    say(cluster, namespace, usage="1", ScalingActive=ACTIVE, AbleToScale=ABLE)
    wait_autoscaling(cluster, namespace, "Following")
    (component,) = cluster.status(namespace)["components"]
    assert (component["replicas"], component["minReplicas"], component["maxReplicas"]) == (2, 2, 4)
    operator.wait_quiet()
    before = Counter(operator.metrics())
    for usage in range(2, 12):
        say(cluster, namespace, usage=str(usage), ScalingActive=ACTIVE, AbleToScale=ABLE)
    # Another's change of what is written shows that the watch has told of all before it.
    (found,) = cluster.list_all(AUTOSCALER, namespace)
    cluster.patch(namespace, AUTOSCALER.kind, found["metadata"]["name"], {"spec": {"maxReplicas": 9}})
    wait_for(lambda: cluster.list_all(AUTOSCALER, namespace)[0]["spec"]["maxReplicas"] == 4)
    operator.wait_quiet()
    done = Counter(operator.metrics()) - before
    writes = {name for name, number in done.items() if name.startswith("forebay_api_writes_total") and number}
    kind = "forebay_api_writes_total HorizontalPodAutoscaler"
    assert writes == {f"{kind} takeover", f"{kind} apply"}, "what makes it as it was, and no status"
    assert done["forebay_reconciles_total done"] < 10
    say(cluster, namespace, usage="1", ScalingActive=("False", "FailedGetPodsMetric"), AbleToScale=ABLE)
    told = wait_autoscaling(cluster, namespace, "NoMetrics")
    assert "kubectl get apiservice v1beta2.custom.metrics.k8s.io" in told["message"]
    assert cluster.condition(namespace)["status"] == "True", "who serves is ready"
    shown = cluster.plane.kubectl("describe", "md", "digits", "-n", namespace).stdout
    assert "NoMetrics" in shown
    assert "Max Replicas" in shown


@pytest.fixture(scope="module")
def keda_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An apiserver that doesn't know KEDA yet."""
    with ControlPlane(tmp_path_factory.mktemp("keda-plane")) as plane:
        plane.install_crds()
        cluster = Cluster(plane)
        cluster.make_namespace(SYSTEM)
        cluster.make_namespace("models")
        yield cluster


def build_operator(cluster: Cluster, folder: Path, provider: str) -> Operator:
    """One with exactly the rights that the chart gives it for a provider, where KEDA is there."""
    values = nest({"autoscaling.provider": provider, "autoscaling.prometheusUrl": "http://prometheus:9090"})
    manifests = render(values, apis=["keda.sh/v1alpha1/ScaledObject"])
    rights = of_kind(manifests, "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    cluster.plane.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(rights))
    token = cluster.plane.kubectl("create", "token", "forebay-operator", "-n", SYSTEM, "--duration=1h").stdout.strip()
    kubeconfig = write_kubeconfig(folder / "kubeconfig", url=cluster.plane.url, token=token, ca=cluster.plane.ca)
    environment = {"FOREBAY_METRICS_PROVIDER": provider, "FOREBAY_PROMETHEUS_URL": "http://prometheus:9090"}
    return Operator(folder / provider, kubeconfig, namespace=SYSTEM, **environment)


def list_scalers(cluster: Cluster) -> set[tuple[str, str]]:
    """The kinds of what scales, and the Deployments."""
    known = [AUTOSCALER]
    if cluster.client.get(SCALED_OBJECT.path(namespace="models")).is_success:
        known.append(SCALED_OBJECT)
    found = [each for resource in known for each in cluster.list_all(resource, "models")]
    return {(each["kind"], each["spec"]["scaleTargetRef"]["name"].rpartition("-")[0]) for each in found}


def replicas(cluster: Cluster) -> dict[str, int]:
    found = cluster.deployments("models")
    return {name.rpartition("-")[0]: each["spec"]["replicas"] for name, each in found.items()}


def make_as_keda(cluster: Cluster) -> str:
    """The HorizontalPodAutoscaler of a ScaledObject, with its labels and annotations: controllers/keda/hpa.go."""
    (made,) = cluster.list_all(SCALED_OBJECT, "models")
    metadata, name = made["metadata"], f"keda-hpa-{made['metadata']['name']}"
    owner = {"apiVersion": made["apiVersion"], "kind": made["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    external = {"metric": {"name": "s0-prometheus"}, "target": {"type": "AverageValue", "averageValue": "5600m"}}
    body = {
        "metadata": {
            "name": name,
            "labels": metadata["labels"],
            "annotations": metadata["annotations"],
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {
            "scaleTargetRef": made["spec"]["scaleTargetRef"],
            "minReplicas": 2,
            "maxReplicas": 4,
            "metrics": [{"type": "External", "external": external}],
        },
    }
    cluster.write("POST", AUTOSCALER.path(namespace="models"), body)
    return name


BY_HPA = {("HorizontalPodAutoscaler", "digits-predictor"), ("HorizontalPodAutoscaler", "digits-transformer")}
BY_KEDA = {("ScaledObject", "digits-predictor"), ("HorizontalPodAutoscaler", "digits-transformer")}


def test_from_one_provider_to_another_and_back(keda_cluster: Cluster, tmp_path: Path) -> None:
    cluster = keda_cluster
    spec = {**QUEUED, "transformer": {**WITH_TRANSFORMER["transformer"], **SCALED}}
    with Nodes(cluster.plane):
        with build_operator(cluster, tmp_path, "keda") as operator:
            cluster.create("models", spec)
            wait_autoscaling(cluster, "models", "NoKeda")
            # The transformer follows its CPU, for which nobody needs KEDA.
            assert list_scalers(cluster) == BY_HPA - {("HorizontalPodAutoscaler", "digits-predictor")}
            assert replicas(cluster) == {"digits-predictor": 2, "digits-transformer": 2}
            assert "Traceback" not in operator.log
            warned = [each for each in operator.log.splitlines() if "scaledobjects" in each]
            assert len(warned) <= 1, warned
            cluster.plane.kubectl("apply", "--server-side", "-f", find_crd())
            wait_for(lambda: list_scalers(cluster) == BY_KEDA, limit_s=120)
            wait_for(lambda: cluster.condition("models", type_="Autoscaling")["reason"] == "Starting")
            hpa = make_as_keda(cluster)
            say(cluster, "models", usage="1", ScalingActive=ACTIVE, AbleToScale=ABLE)
            wait_autoscaling(cluster, "models", "Following")
            operator.wait_quiet()
            assert cluster.find("models", AUTOSCALER.kind, hpa), "what KEDA made isn't taken for garbage of ours"
            cluster.delete("models", AUTOSCALER.kind, hpa)
            # Somebody, as KEDA would, sets the number; nobody takes it back.
            (name,) = (each for each in cluster.deployments("models") if "predictor" in each)
            cluster.patch("models", "Deployment", name, {"spec": {"replicas": 3}})
            operator.wait_quiet()
            assert replicas(cluster)["digits-predictor"] == 3
            assert operator.stop() == 0
        with build_operator(cluster, tmp_path, "forebay") as operator:
            wait_for(lambda: list_scalers(cluster) == BY_HPA)
            operator.wait_quiet()
            assert replicas(cluster)["digits-predictor"] == 3
            assert operator.stop() == 0
        with build_operator(cluster, tmp_path, "keda") as operator:
            wait_for(lambda: list_scalers(cluster) == BY_KEDA)
            cluster.plane.kubectl("delete", "-f", find_crd())
            wait_autoscaling(cluster, "models", "NoKeda")
            assert "Traceback" not in operator.log
            assert operator.stop() == 0
        with build_operator(cluster, tmp_path, "none"):
            wait_for(lambda: list_scalers(cluster) == BY_HPA - {("HorizontalPodAutoscaler", "digits-predictor")})
            told = wait_autoscaling(cluster, "models", "NotFollowed")
            assert "write predictor.autoscaling.target: {cpu: 70}" in told["message"]
            wait_for(lambda: replicas(cluster)["digits-predictor"] == 2)
