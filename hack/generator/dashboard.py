"""The Grafana dashboard."""

from dataclasses import dataclass
from itertools import count
from typing import Any

Json = dict[str, Any]

COLUMNS = 24
HEIGHT = 8
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = 'namespace=~"$namespace", deployment=~"$deployment"'
NAME = "{{namespace}}/{{deployment}}"


@dataclass(frozen=True)
class Panel:
    """A graph: PromQL by legend."""

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"
    stacked: bool = False
    kind: str = "timeseries"
    width: int = 8


def rate(series: str, by: str) -> str:
    return f"sum by ({by}) (rate({series}[$__rate_interval]))"


def chosen(metric: str, *more: str) -> str:
    return f"{metric}{{{', '.join((CHOSEN, *more))}}}"


def quantile(share: float) -> str:
    buckets = rate(chosen("forebay_request_duration_seconds_bucket"), "namespace, deployment, le")
    return f"histogram_quantile({share}, {buckets})"


def total(metric: str, by: str = "namespace, deployment") -> str:
    return f"sum by ({by}) ({chosen(metric)})"


INSTANCE = "namespace, deployment, component, instance"
MEAN_SERVICE = " / ".join(rate(chosen(f"forebay_queue_service_seconds_{part}"), INSTANCE) for part in ("sum", "count"))
REQUESTS = [
    Panel(
        "Ready",
        "1 when the gateway routes to instances of the wanted generation.",
        {NAME: f"max by (namespace, deployment) ({chosen('forebay_deployment_ready')})"},
        kind="stat",
    ),
    Panel(
        "Instances",
        "Instances that the gateway routes to, by revision.",
        {f"{NAME} {{{{revision}}}}": f"max by (namespace, deployment, revision) ({chosen('forebay_instances')})"},
        stacked=True,
    ),
    Panel(
        "In flight",
        "Requests that are being answered.",
        {NAME: total("forebay_requests_in_flight")},
    ),
    Panel(
        "Requests",
        "Answers by status code and revision.",
        {
            f"{NAME} {{{{revision}}}} {{{{code}}}}": rate(
                chosen("forebay_requests_total"), "namespace, deployment, revision, code"
            )
        },
        unit="reqps",
        stacked=True,
    ),
    Panel(
        "Latency",
        "Time to an answer, as the gateway sees it, and the share of requests that take at most so long.",
        {f"{NAME} p{percent}": quantile(percent / 100) for percent in (50, 90, 99)},
        unit="s",
    ),
    Panel(
        "Refused",
        "Requests refused by the gateway or by all queues that were tried, by reason.",
        {f"{NAME} {{{{reason}}}}": rate(chosen("forebay_requests_rejected_total"), "namespace, deployment, reason")},
        unit="reqps",
        stacked=True,
    ),
]
QUEUES = [
    Panel(
        "Working",
        "Requests that an instance works on.",
        {"{{instance}}": chosen("forebay_queue_in_flight")},
    ),
    Panel("Waiting", "Requests in an instance's queue.", {"{{instance}}": chosen("forebay_queue_queued")}),
    Panel(
        "Refused by queues",
        "A refused request may have been answered by another instance.",
        {"{{instance}} {{reason}}": rate(chosen("forebay_queue_rejected_total"), f"{INSTANCE}, reason")},
        unit="reqps",
    ),
    Panel(
        "Time in the queue",
        "Mean of five minutes: it grows when instances are too few.",
        {"{{instance}}": chosen("forebay:queue_wait_seconds:mean5m")},
        unit="s",
        width=12,
    ),
    Panel(
        "Time at the model server",
        "Mean: it grows when the model or its GPU is slow.",
        {"{{instance}}": MEAN_SERVICE},
        unit="s",
        width=12,
    ),
]
COMPONENT = "namespace, deployment, component"
LOAD = " + ".join(f"avg by ({COMPONENT}) ({chosen(f'forebay_queue_{part}')})" for part in ("in_flight", "queued"))
SCALING = [
    Panel(
        "Instances wanted, and ready",
        "What the autoscaler, a step of load or the spec asks for, by component, and how much of it is there.",
        {
            f"{NAME} {{{{component}}}} {what}": f"max by ({COMPONENT}) ({chosen(f'forebay_instances_{what}')})"
            for what in ("wanted", "ready")
        },
    ),
    Panel(
        "Requests at each instance",
        "Mean of those that are worked on and those that wait. target.queue is held against it, for a transformer less "
        "what it has passed on to its predictor.",
        {f"{NAME} {{{{component}}}}": LOAD},
    ),
    Panel(
        "Scale decisions",
        "Changes in the number of instances, by direction, and by who decided: panic (a step of load), autoscaler, "
        "spec, or somebody else. The Events of a ModelDeployment say why.",
        {
            "{{decider}} {{direction}}": "sum by (decider, direction) "
            "(increase(forebay_scalings_total[$__rate_interval]))"
        },
        stacked=True,
    ),
]
OPERATOR = [
    Panel(
        "ModelDeployments",
        "By state.",
        {"{{state}}": "max by (state) (forebay_deployments)"},
        stacked=True,
        width=6,
    ),
    Panel(
        "Reconciles",
        "By result.",
        {"{{result}}": rate("forebay_reconciles_total", "result")},
        unit="ops",
        width=6,
    ),
    Panel(
        "Duration of a reconcile, and queue",
        "Mean duration in seconds, and objects that wait for their turn.",
        {
            "duration": " / ".join(
                f"sum(rate(forebay_reconcile_duration_seconds_{part}[$__rate_interval]))" for part in ("sum", "count")
            ),
            "waiting": "sum(forebay_reconcile_queue)",
        },
        width=6,
    ),
    Panel(
        "API writes",
        "By kind and verb. None when nothing changes.",
        {"{{verb}} {{kind}}": rate("forebay_api_writes_total", "kind, verb")},
        unit="ops",
        width=6,
    ),
]
ROWS = {"Requests": REQUESTS, "Queues": QUEUES, "Scaling": SCALING, "Operator": OPERATOR}


def build_dashboard() -> Json:
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        build_variable("namespace", "label_values(forebay_deployment_ready, namespace)"),
        build_variable("deployment", 'label_values(forebay_deployment_ready{namespace=~"$namespace"}, deployment)'),
    ]
    return {
        "uid": "forebay",
        "title": "Forebay",
        "description": "ModelDeployments: requests, queues, and the operator.",
        "tags": ["forebay"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "panels": build_panels(),
    }


def build_variable(name: str, query: str) -> Json:
    return {
        "name": name,
        "type": "query",
        "label": name.capitalize(),
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def build_panels() -> list[Json]:
    panels: list[Json] = []
    ids, y = count(1), 0
    for row, graphs in ROWS.items():
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        panels.append({"id": next(ids), "type": "row", "title": row, "gridPos": place, "panels": []})
        x, y = 0, y + 1
        for graph in graphs:
            if x + graph.width > COLUMNS:
                x, y = 0, y + HEIGHT
            place = {"x": x, "y": y, "w": graph.width, "h": HEIGHT}
            panels.append({"id": next(ids), "gridPos": place, **build_panel(graph)})
            x += graph.width
        y += HEIGHT
    return panels


def build_panel(panel: Panel) -> Json:
    targets = [
        {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        for place, (legend, expression) in enumerate(panel.queries.items())
    ]
    custom = {"stacking": {"mode": "normal" if panel.stacked else "none"}, "fillOpacity": 30 if panel.stacked else 5}
    if panel.kind == "stat":
        custom = {}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
    }
