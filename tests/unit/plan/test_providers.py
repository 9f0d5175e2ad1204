"""Who answers what a ModelDeployment is scaled by: the children that each provider gets."""

from pathlib import Path
from typing import Any

import pytest

from forebay.api.load import load_text
from forebay.plan.manifests import build_manifests
from forebay.plan.providers import keep_awake
from forebay.plan.resolve import Serving, resolve
from forebay.plan.site import MetricsProvider, Site
from forebay.plan.workloads import build_revision

URL = "http://prometheus.monitoring.svc:9090"
KEDA = Site(metrics_provider=MetricsProvider.KEDA, prometheus_url=URL)
ADAPTER = Site(metrics_provider=MetricsProvider.PROMETHEUS_ADAPTER)
NONE = Site(metrics_provider=MetricsProvider.NONE)
OWN_METRIC = "{type: Pods, pods: {metric: {name: m}, target: {type: AverageValue, averageValue: '4'}}}"
CPU_METRIC = (
    "{type: ContainerResource, containerResource: "
    "{name: cpu, container: queue, target: {type: Utilization, averageUtilization: 60}}}"
)


def build(autoscaling: str, site: Site) -> tuple[list[dict[str, Any]], str]:
    """The manifests, and what isn't followed."""
    text = f"""
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: digits, namespace: vision}}
spec:
  model: {{uri: "s3://models/digits"}}
  predictor: {{triton: {{}}, concurrency: 10, resources: {{gpu: {{}}}}, autoscaling: {autoscaling}}}
"""
    (item,) = load_text(text, file="m.yaml", folder=Path())
    serving = resolve(item)
    (planned,) = build_revision(serving, site).workloads
    return build_manifests(serving, site), planned.workload.scaling.unmet


def scaler(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    found = [each for each in manifests if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    assert len(found) <= 1
    return found[0] if found else {}


def replicas(manifests: list[dict[str, Any]]) -> int | None:
    (deployment,) = (each for each in manifests if each["kind"] == "Deployment")
    number: int | None = deployment["spec"].get("replicas")
    return number


def test_the_adapter_gets_what_our_own_api_gets() -> None:
    wanted = "{max: 4, target: {queue: 3, queueTime: 200ms, requestsPerSecond: 50, cpu: 70}}"
    own, adapter = build(wanted, Site()), build(wanted, ADAPTER)
    assert own == adapter
    assert own[1] == ""


def test_keda_asks_prometheus_for_the_sum_over_the_instances() -> None:
    manifests, unmet = build("{min: 2, max: 4, target: {queueTime: 200ms, cpu: 70}, behavior: {scaleUp: {}}}", KEDA)
    found = scaler(manifests)
    name = found["metadata"]["name"]
    assert (found["apiVersion"], found["kind"], unmet) == ("keda.sh/v1alpha1", "ScaledObject", "")
    assert replicas(manifests) is None
    spec = found["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 4)
    assert spec["advanced"] == {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {}}}}
    cpu, queue = spec["triggers"]
    assert cpu == {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}
    asked = queue["metadata"]
    assert (queue["metricType"], asked["serverAddress"], asked["threshold"]) == ("AverageValue", URL, "0.2")
    assert asked["ignoreNullValues"] == "false", "what isn't told is not zero"
    assert f'namespace="vision",workload="{name}"' in asked["query"]
    assert asked["query"].startswith("sum(")


def test_keda_takes_metrics_of_cpu_and_memory_alone() -> None:
    manifests, unmet = build(f"{{max: 4, target: {{queue: 3}}, metrics: [{OWN_METRIC}, {CPU_METRIC}]}}", KEDA)
    types = [each["type"] for each in scaler(manifests)["spec"]["triggers"]]
    assert types == ["prometheus", "cpu"]
    assert scaler(manifests)["spec"]["triggers"][1]["metadata"] == {"value": "60", "containerName": "queue"}
    assert "KEDA takes no metric of type Pods of predictor.autoscaling.metrics" in unmet


@pytest.mark.parametrize("site", [Site(), ADAPTER, KEDA, NONE])
def test_what_needs_no_custom_metrics_is_the_same_with_all(site: Site) -> None:
    for wanted in ("{max: 4, target: {cpu: 70}}", f"{{max: 4, metrics: [{OWN_METRIC}]}}"):
        manifests, unmet = build(wanted, site)
        assert (scaler(manifests)["kind"], unmet) == ("HorizontalPodAutoscaler", "")


def test_where_nobody_tells_it_stays_at_its_min() -> None:
    manifests, unmet = build("{min: 2, max: 4}", NONE)
    assert scaler(manifests) == {}
    assert replicas(manifests) == 2
    assert "target.queue" in unmet
    assert "write predictor.autoscaling.target: {cpu: 70}" in unmet
    assert "stays at 2" in unmet


def test_where_nobody_tells_cpu_is_followed_all_the_same() -> None:
    manifests, unmet = build("{min: 2, max: 4, target: {cpu: 70, queue: 4}}", NONE)
    assert [each["type"] for each in scaler(manifests)["spec"]["metrics"]] == ["Resource"]
    assert replicas(manifests) is None
    assert "target.queue" in unmet
    assert "stays" not in unmet


def test_gpus_are_asked_of_prometheus() -> None:
    manifests, unmet = build("{max: 4, target: {gpu: 70}}", Site())
    assert (scaler(manifests), replicas(manifests)) == ({}, 1)
    assert "set autoscaling.prometheusUrl" in unmet
    for site in (Site(prometheus_url=URL), ADAPTER):
        manifests, unmet = build("{max: 4, target: {gpu: 70}}", site)
        (metric,) = scaler(manifests)["spec"]["metrics"]
        assert metric["pods"]["metric"]["name"] == "forebay_gpu_utilization"
        assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "70"}
        assert unmet == ""
    manifests, unmet = build("{max: 4, target: {gpu: 70}}", KEDA)
    (trigger,) = scaler(manifests)["spec"]["triggers"]
    assert "DCGM_FI_DEV_GPU_UTIL" in trigger["metadata"]["query"]
    assert (trigger["metadata"]["threshold"], unmet) == ("70", "")


def keep(site: Site, *, predictor: str = "{min: 0, max: 4}", transformer: str = "") -> Serving:
    """A ModelDeployment that is to sleep, as its planner has it."""
    text = f"""
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: digits, namespace: vision}}
spec:
  model: {{uri: "s3://models/digits"}}
  predictor: {{triton: {{}}, autoscaling: {predictor}}}
"""
    if transformer:
        script = "class A:\\n  pass"
        text += f'  transformer: {{custom: {{script: "{script}"}}, autoscaling: {transformer}}}\n'
    (item,) = load_text(text, file="m.yaml", folder=Path())
    return keep_awake(resolve(item), site)


@pytest.mark.parametrize("site", [Site(), ADAPTER, NONE])
def test_it_may_sleep_whoever_tells_of_its_load(site: Site) -> None:
    serving = keep(site)
    assert serving.idle_s == 300
    (deployment,) = (each for each in build_manifests(serving, site) if each["kind"] == "Deployment")
    assert "replicas" not in deployment["spec"], "others write it"


def test_but_not_where_keda_would_wake_it() -> None:
    serving = keep(KEDA)
    assert serving.idle_s == 0
    (planned,) = build_revision(serving, KEDA).workloads
    assert planned.workload.scaling.unmet == (
        "min: 0 and KEDA undo each other's work, so it stays at 1: write min: 1, or set autoscaling.provider of the "
        "chart to forebay"
    )
    assert planned.workload.scaling.least == 1
    by_cpu = "{min: 0, max: 4, target: {cpu: 70}}"
    assert keep(KEDA, predictor=by_cpu).idle_s == 300, "a HorizontalPodAutoscaler of our own"
    assert keep(KEDA, predictor=by_cpu, transformer="{max: 4}").idle_s == 0
