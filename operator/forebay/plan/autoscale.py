"""The HorizontalPodAutoscaler of a workload."""

from forebay.plan.envoy import Json
from forebay.plan.resolve import Scaling


def build_hpa_spec(scaling: Scaling, *, target: str) -> Json:
    """The spec of a HorizontalPodAutoscaler (autoscaling/v2) for the Deployment `target`."""
    resources = {"cpu": scaling.cpu_pct, "memory": scaling.memory_pct}
    metrics = [
        {"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": pct}}}
        for name, pct in resources.items()
        if pct
    ]
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "minReplicas": scaling.least,
        "maxReplicas": scaling.most,
        "metrics": [*metrics, *scaling.metrics],
        **({"behavior": scaling.behavior} if scaling.behavior else {}),
    }
