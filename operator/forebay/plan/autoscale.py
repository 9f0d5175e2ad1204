"""The HorizontalPodAutoscaler of a workload."""

from forebay.plan import names
from forebay.plan.envoy import Json
from forebay.plan.resolve import Scaling

# A step of load is answered by the operator at once (scaling/panic.py). What is left for the autoscaler to see is slow,
# or noise: it believes what lasts, where it would follow each peak of a steady load otherwise.
_CALM: Json = {"scaleUp": {"stabilizationWindowSeconds": 30}}


def choose_behavior(scaling: Scaling) -> Json:
    """spec.behavior: the user's own wherever there is one."""
    return scaling.behavior or (_CALM if scaling.may_panic else {})


def build_hpa_spec(scaling: Scaling, *, target: str) -> Json:
    """The spec of a HorizontalPodAutoscaler (autoscaling/v2) for the Deployment `target`."""
    resources = {"cpu": scaling.cpu_pct, "memory": scaling.memory_pct}
    metrics = [
        {"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": pct}}}
        for name, pct in resources.items()
        if pct
    ]
    metrics += [
        {"type": "Pods", "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": value}}}
        for name, value in ((name, _format(number)) for name, number in list_pod_targets(scaling))
    ]
    behavior = choose_behavior(scaling)
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "minReplicas": scaling.least,
        "maxReplicas": scaling.most,
        "metrics": [*metrics, *scaling.metrics],
        **({"behavior": behavior} if behavior else {}),
    }


def list_pod_targets(scaling: Scaling) -> list[tuple[str, float]]:
    """The custom metrics that are followed, and what each is to be on average of the instances."""
    pods = {
        names.QUEUE_METRIC: scaling.queue,
        names.QUEUE_TIME_METRIC: scaling.queue_time_s,
        names.RATE_METRIC: scaling.requests_per_s,
        names.GPU_METRIC: float(scaling.gpu_pct),
    }
    return [(name, number) for name, number in pods.items() if number]


def _format(number: float) -> str:
    """As the apiserver writes a quantity, so that nobody sees a difference."""
    milli = round(number * 1000)
    return f"{milli}m" if milli % 1000 else str(milli // 1000)
