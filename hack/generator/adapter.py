"""Rules of prometheus-adapter, by which it tells HorizontalPodAutoscalers what Forebay's own metrics API would.

Source: https://github.com/kubernetes-sigs/prometheus-adapter/blob/master/docs/config.md
"""

from typing import Any

from forebay.plan import names
from forebay.plan.queries import EXPORTED, GPU_SERIES, SERIES, build_gpu_query, build_queue_query

Json = dict[str, Any]

# What the adapter writes in their place: which pods are asked for, and the label that tells them apart.
MATCHERS, GROUP = "<<.LabelMatchers>>", "<<.GroupBy>>"


def build_adapter() -> Json:
    queues = [
        rule(series, metric, build_queue_query(metric, MATCHERS, by=GROUP), namespace="namespace", pod="instance")
        for metric, series in SERIES.items()
    ]
    gpu = build_gpu_query(MATCHERS, by=GROUP)
    return {
        "rules": [
            *queues,
            rule(f'{GPU_SERIES}{{{EXPORTED}pod=""}}', names.GPU_METRIC, gpu, namespace="namespace", pod="pod"),
            # Of two rules for one metric the adapter takes the last that finds a series.
            rule(
                f'{GPU_SERIES}{{{EXPORTED}pod!=""}}',
                names.GPU_METRIC,
                gpu,
                namespace=f"{EXPORTED}namespace",
                pod=f"{EXPORTED}pod",
            ),
        ]
    }


def rule(series: str, metric: str, query: str, *, namespace: str, pod: str) -> Json:
    return {
        "seriesQuery": series,
        "resources": {"overrides": {namespace: {"resource": "namespace"}, pod: {"resource": "pod"}}},
        "name": {"as": metric},
        "metricsQuery": query,
    }
