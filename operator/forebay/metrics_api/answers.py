"""The API's answers as plain data. Pure.

Source: https://github.com/kubernetes/metrics/blob/master/pkg/apis/custom_metrics/v1beta2/types.go
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from forebay.metrics_api.metrics import Value

Json = dict[str, Any]
GROUP = "custom.metrics.k8s.io"
VERSION = "v1beta2"
PATH = f"/apis/{GROUP}/{VERSION}"


def build_resources(metrics: Iterable[str]) -> Json:
    """What there is to ask for (APIResourceList)."""
    resources = [
        {
            "name": f"pods/{metric}",
            "singularName": "",
            "namespaced": True,
            "kind": "MetricValueList",
            "verbs": ["get"],
        }
        for metric in metrics
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": resources}


def build_values(namespace: str, metric: str, values: Mapping[str, Value], *, now: datetime) -> Json:
    """The values of a metric, by the names of pods (MetricValueList)."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    items = [
        {
            "describedObject": {"kind": "Pod", "namespace": namespace, "name": name, "apiVersion": "/v1"},
            "metric": {"name": metric, "selector": None},
            "timestamp": stamp,
            **({"windowSeconds": max(1, round(each.window_s))} if each.window_s else {}),
            "value": format_quantity(each.value),
        }
        for name, each in values.items()
    ]
    return {"kind": "MetricValueList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}


def format_quantity(value: float) -> str:
    """A number as a Kubernetes quantity, to a thousandth."""
    return str(round(value)) if value == round(value) else f"{round(value * 1000)}m"


def build_failure(status: HTTPStatus, reason: str, message: str) -> Json:
    """A refusal (Status)."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": int(status),
    }
