"""What the chart makes for each provider of metrics; and its queries, by promtool, on what a real Envoy counted."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from forebay.metrics import parse_queue_stats
from forebay.plan import names
from forebay.plan.queries import build_workload_query
from tests.chart.charts import find, nest, of_kind, refuse, render
from tests.chart.rules import Promtool, check, near, write_series
from tests.chart.test_rules import STATS, read_stats

URL = "http://prometheus.monitoring.svc:9090"
WORKLOAD = "digits-predictor-5a1f0c3e"
PODS = (f"{WORKLOAD}-7d9f-aaaaa", f"{WORKLOAD}-7d9f-bbbbb")
API = "v1beta2.custom.metrics.k8s.io"


def operator_env(manifests: list[dict[str, Any]], name: str = "operator") -> dict[str, str]:
    (container,) = find(manifests, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def may_scale_with_keda(manifests: list[dict[str, Any]]) -> list[str]:
    role = find(manifests, "ClusterRole", "forebay-operator")
    return [verb for rule in role["rules"] if "scaledobjects" in rule["resources"] for verb in rule["verbs"]]


@pytest.mark.parametrize("provider", ["forebay", "prometheus-adapter", "keda", "none"])
def test_one_provider_and_no_other(provider: str) -> None:
    manifests = render(nest({"autoscaling.provider": provider, "autoscaling.prometheusUrl": URL}))
    kinds = [each["metadata"]["name"] for each in of_kind(manifests, "APIService")]
    assert kinds == ([API] if provider == "forebay" else [])
    maps = {each["metadata"]["name"] for each in of_kind(manifests, "ConfigMap")}
    assert ("forebay-adapter" in maps) == (provider == "prometheus-adapter")
    assert bool(may_scale_with_keda(manifests)) == (provider == "keda")
    assert operator_env(manifests)["FOREBAY_METRICS_PROVIDER"] == provider
    assert operator_env(manifests)["FOREBAY_PROMETHEUS_URL"] == URL


def test_keda_must_know_where_prometheus_is() -> None:
    assert "prometheusUrl" in refuse(nest({"autoscaling.provider": "keda"}))


def test_where_keda_is_there_what_it_had_may_be_taken_away() -> None:
    verbs = may_scale_with_keda(render(apis=["keda.sh/v1alpha1/ScaledObject"]))
    assert verbs == ["get", "list", "watch", "delete"]


def test_the_rules_lie_where_the_adapter_is() -> None:
    values = {"autoscaling.provider": "prometheus-adapter", "autoscaling.adapterNamespace": "monitoring"}
    assert find(render(nest(values)), "ConfigMap", "adapter")["metadata"]["namespace"] == "monitoring"


def read_adapter() -> list[dict[str, Any]]:
    config = find(render(nest({"autoscaling.provider": "prometheus-adapter"})), "ConfigMap", "adapter")
    rules: list[dict[str, Any]] = yaml.safe_load(config["data"]["config.yaml"])["rules"]
    return rules


def ask_adapter(metric: str, *pods: str, exported: bool = False) -> str:
    """A rule's query as the adapter fills it in for pods of a namespace: pkg/naming/metrics_query.go."""
    rules = [each for each in read_adapter() if each["name"] == {"as": metric}]
    rule = rules[-1] if exported else rules[0]
    labels = {resource["resource"]: label for label, resource in rule["resources"]["overrides"].items()}
    matchers = f'{labels["namespace"]}="default",{labels["pod"]}=~"{"|".join(pods)}"'
    query: str = rule["metricsQuery"]
    return query.replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", labels["pod"])


def read_pods(name: str, values: str) -> dict[str, str]:
    """Two instances of which each counted what a real Envoy did."""
    series = {}
    for pod in PODS:
        for text, numbers in read_stats(name, values).items():
            # What Envoy counts by code has no `_total`; the parser adds it.
            if text.startswith("envoy_cluster_upstream_rq_total{envoy_response_code"):
                continue
            moved = text.replace('instance="digits-predictor-5a1f0c3e-x"', f'instance="{pod}",workload="{WORKLOAD}"')
            assert moved != text
            series[moved] = numbers
    return series


def test_what_waits_and_what_works(promtool: Promtool, tmp_path: Path) -> None:
    stats = parse_queue_stats((STATS / "busy.txt").read_text())
    count = stats.in_flight + stats.queued
    assert count > 0
    workload = build_workload_query(names.QUEUE_METRIC, namespace="default", workload=WORKLOAD)
    other = build_workload_query(names.QUEUE_METRIC, namespace="default", workload="digits-predictor-00000000")
    expected = [
        near(f"sum({ask_adapter(names.QUEUE_METRIC, *PODS)})", 2 * count),
        near(f"count({ask_adapter(names.QUEUE_METRIC, *PODS)})", 2),
        near(ask_adapter(names.QUEUE_METRIC, PODS[0]), count),
        near(workload, 2 * count),
        near(f"{other} or vector(0)", 0),
    ]
    check(promtool, tmp_path, series=read_pods("busy", "{0}x10"), promql_expr_test=expected)


def test_how_many_there_are_and_how_long_they_wait(promtool: Promtool, tmp_path: Path) -> None:
    stats = parse_queue_stats((STATS / "idle.txt").read_text())
    rate, wait = stats.begun_count / 60, stats.wait_sum_s / stats.total_count
    assert rate > 0
    expected = [
        near(ask_adapter(names.RATE_METRIC, PODS[0]), rate),
        near(build_workload_query(names.RATE_METRIC, namespace="default", workload=WORKLOAD), 2 * rate),
        near(ask_adapter(names.QUEUE_TIME_METRIC, PODS[1]), wait),
        near(build_workload_query(names.QUEUE_TIME_METRIC, namespace="default", workload=WORKLOAD), 2 * wait),
    ]
    check(promtool, tmp_path, series=read_pods("idle", "0+{0}x10"), promql_expr_test=expected)


def test_nobody_asks_is_zero_and_not_nothing(promtool: Promtool, tmp_path: Path) -> None:
    expected = [near(ask_adapter(metric, PODS[0]), 0) for metric in (names.RATE_METRIC, names.QUEUE_TIME_METRIC)]
    check(promtool, tmp_path, series=read_pods("idle", "{0}x10"), promql_expr_test=expected)


def test_how_long_it_takes_is_unknown_while_all_wait_and_none_is_answered(promtool: Promtool, tmp_path: Path) -> None:
    waiting = f'pending_active{{envoy_cluster_name="{names.QUEUE_CLUSTER}"'
    series = {name: "5x10" if waiting in name else each for name, each in read_pods("idle", "{0}x10").items()}
    assert list(series.values()).count("5x10") == len(PODS)
    workload = build_workload_query(names.QUEUE_TIME_METRIC, namespace="default", workload=WORKLOAD)
    queries = [workload, *(ask_adapter(names.QUEUE_TIME_METRIC, pod) for pod in PODS)]
    expected = [near(f"(count({each}) or vector(0))", 0) for each in queries]
    check(promtool, tmp_path, series=series, promql_expr_test=expected)


@pytest.mark.parametrize("prefix", ["", "exported_"])
def test_gpus(promtool: Promtool, tmp_path: Path, prefix: str) -> None:
    """As DCGM's exporter names them, its labels honoured and not."""
    common = {"gpu": "0", "device": "nvidia0", "modelName": "NVIDIA H100", "Hostname": "n1"}
    exporter = {"namespace": "gpu-operator", "pod": "dcgm-exporter-x"} if prefix else {}
    use = {PODS[0]: (80, 60), PODS[1]: (30,), "another-x": (99,)}
    series = {
        write_series("DCGM_FI_DEV_GPU_UTIL", {
            **common, **exporter, "UUID": f"GPU-{pod}-{number}", f"{prefix}namespace": "default", f"{prefix}pod": pod,
        }): f"{value}x10"
        for pod, values in use.items() for number, value in enumerate(values)
    }  # fmt: skip
    if prefix:
        # A GPU that nobody has.
        series[write_series("DCGM_FI_DEV_GPU_UTIL", {**common, **exporter, "UUID": "GPU-free"})] = "0x10"
    expected = [
        near(ask_adapter(names.GPU_METRIC, PODS[0], exported=bool(prefix)), 70),
        near(build_workload_query(names.GPU_METRIC, namespace="default", workload=WORKLOAD), 100),
    ]
    check(promtool, tmp_path, series=series, promql_expr_test=expected)
