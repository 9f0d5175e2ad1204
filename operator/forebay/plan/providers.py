"""Who answers what a workload is scaled by, and what to write instead where nobody does."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from forebay.plan.keda import is_taken
from forebay.plan.resolve import Scaling, Serving, Workload
from forebay.plan.site import MetricsProvider, Site

_CHART = "autoscaling.provider of the chart"


def provide(workload: Workload, site: Site) -> Workload:
    """The workload with what the cluster follows of its scaling; what it can't is told in `unmet`."""
    scaling = workload.scaling
    followed, unmet = scaling, [*filter(None, [scaling.unmet]), *_find_unmet(workload, site)]
    if scaling.follows_queue and site.metrics_provider is MetricsProvider.NONE:
        followed = replace(followed, queue=0.0, queue_time_s=0.0, requests_per_s=0.0, gpu_pct=0)
    if not _knows_gpus(site):
        followed = replace(followed, gpu_pct=0)
    if uses_keda(scaling, site):
        followed = replace(followed, metrics=tuple(each for each in scaling.metrics if is_taken(each)))
    if not unmet:
        return workload
    if not followed.automatic:
        unmet.append(f"it stays at {scaling.least} (autoscaling.min)")
    return replace(workload, scaling=replace(followed, unmet="; ".join(unmet)))


def keep_awake(serving: Serving, site: Site) -> Serving:
    """What is to sleep stays awake where KEDA scales: it starts again what is below its own least number, and waits for
    nobody where that is 0.
    """
    if not serving.idle_s or not any(uses_keda(each.scaling, site) for each in serving.workloads):
        return serving
    unmet = (
        f"min: 0 and KEDA undo each other's work, so it stays at 1: write min: 1, or set {_CHART} to "
        f"{MetricsProvider.FOREBAY}"
    )
    scaling = replace(serving.predictor.scaling, unmet=unmet)
    return replace(serving, idle_s=0.0, predictor=replace(serving.predictor, scaling=scaling))


def uses_keda(scaling: Scaling, site: Site) -> bool:
    """Whether a ScaledObject scales, in place of a HorizontalPodAutoscaler of our own."""
    return site.metrics_provider is MetricsProvider.KEDA and scaling.follows_queue


def _knows_gpus(site: Site) -> bool:
    """Whether somebody asks Prometheus of GPUs. prometheus-adapter knows itself where that is."""
    return bool(site.prometheus_url) or site.metrics_provider is MetricsProvider.PROMETHEUS_ADAPTER


def _find_unmet(workload: Workload, site: Site) -> Iterator[str]:
    scaling = workload.scaling
    if scaling.follows_queue and site.metrics_provider is MetricsProvider.NONE:
        yield (
            f"nobody in this cluster tells {', '.join(_name_targets(scaling))} ({_CHART} is none): write "
            f"{workload.role}.autoscaling.target: {{cpu: 70}}, or set it to forebay"
        )
    elif scaling.gpu_pct and not _knows_gpus(site):
        yield "target.gpu is asked of Prometheus: set autoscaling.prometheusUrl of the chart, or write another target"
    if uses_keda(scaling, site):
        left_out = [_describe(each) for each in scaling.metrics if not is_taken(each)]
        if left_out:
            yield (
                f"KEDA takes no {', '.join(left_out)} of {workload.role}.autoscaling.metrics beside what it follows "
                f"itself: leave them out, or write metrics alone and no target"
            )


def _name_targets(scaling: Scaling) -> Iterator[str]:
    wanted: Mapping[str, float] = {
        "queue": scaling.queue,
        "queueTime": scaling.queue_time_s,
        "requestsPerSecond": scaling.requests_per_s,
        "gpu": scaling.gpu_pct,
    }
    return (f"target.{name}" for name, value in wanted.items() if value)


def _describe(metric: Mapping[str, Any]) -> str:
    return f"metric of type {metric.get('type', '(none)')}"
