"""KEDA's ScaledObject of a workload: it makes the HorizontalPodAutoscaler, and asks Prometheus.

Source: https://keda.sh/docs/2.18/reference/scaledobject-spec/ and https://keda.sh/docs/2.18/scalers/prometheus/
"""

from collections.abc import Iterator, Mapping
from typing import Any

from forebay.plan.autoscale import list_pod_targets
from forebay.plan.envoy import Json
from forebay.plan.queries import build_workload_query
from forebay.plan.resolve import Scaling

_RESOURCES = ("cpu", "memory")
_VALUES = {"Utilization": "averageUtilization", "AverageValue": "averageValue"}


def build_scaled_object_spec(scaling: Scaling, *, namespace: str, target: str, prometheus_url: str) -> Json:
    """The spec of a ScaledObject (keda.sh/v1alpha1) for the Deployment `target`."""
    resources = {"cpu": scaling.cpu_pct, "memory": scaling.memory_pct}
    triggers = [_build_resource(name, "Utilization", str(pct)) for name, pct in resources.items() if pct]
    for metric, number in list_pod_targets(scaling):
        query = build_workload_query(metric, namespace=namespace, workload=target)
        triggers.append(_build_prometheus(metric, query, number, prometheus_url))
    behavior = {"horizontalPodAutoscalerConfig": {"behavior": scaling.behavior}} if scaling.behavior else {}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "minReplicaCount": scaling.least,
        "maxReplicaCount": scaling.most,
        "triggers": [*triggers, *_translate(scaling)],
        **({"advanced": behavior} if behavior else {}),
    }


def is_taken(metric: Mapping[str, Any]) -> bool:
    """Whether a trigger says the same as a metric of a HorizontalPodAutoscaler: of CPU and memory they do."""
    target = _target_of(metric)
    return _source_of(metric).get("name") in _RESOURCES and target.get("type") in _VALUES


def _translate(scaling: Scaling) -> Iterator[Json]:
    for metric in scaling.metrics:
        if is_taken(metric):
            target, source = _target_of(metric), _source_of(metric)
            trigger = _build_resource(source["name"], target["type"], str(target.get(_VALUES[target["type"]], "")))
            if "container" in source:
                trigger["metadata"]["containerName"] = source["container"]
            yield trigger


def _source_of(metric: Mapping[str, Any]) -> Mapping[str, Any]:
    found = {"Resource": metric.get("resource"), "ContainerResource": metric.get("containerResource")}
    source = found.get(str(metric.get("type")))
    return source if isinstance(source, Mapping) else {}


def _target_of(metric: Mapping[str, Any]) -> Mapping[str, Any]:
    target = _source_of(metric).get("target")
    return target if isinstance(target, Mapping) else {}


def _build_resource(name: str, metric_type: str, value: str) -> Json:
    return {"type": name, "metricType": metric_type, "metadata": {"value": value}}


def _build_prometheus(metric: str, query: str, number: float, url: str) -> Json:
    return {
        "type": "prometheus",
        "name": metric.replace("_", "-"),
        # Of the sum, by the number of instances.
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": url,
            "query": query,
            "threshold": format_plain(number),
            # No data is not zero: what isn't scraped is no reason to take instances away.
            "ignoreNullValues": "false",
        },
    }


def format_plain(number: float) -> str:
    """A number as KEDA reads it, to a thousandth: it takes no Kubernetes quantity."""
    return f"{number:.3f}".rstrip("0").rstrip(".")
