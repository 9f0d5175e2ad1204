"""A ModelDeployment's children as plain Kubernetes manifests, one per list entry, ready for server-side apply."""

from forebay.plan import names
from forebay.plan.envoy import Json
from forebay.plan.envoy_queue import build_runtime
from forebay.plan.images import Images
from forebay.plan.names import build_labels
from forebay.plan.pods import build_name, build_pod_spec
from forebay.plan.resolve import Serving, Workload


def build_manifests(serving: Serving, images: Images | None = None) -> list[Json]:
    """All children: what others refer to comes first."""
    return [
        manifest
        for workload in serving.workloads
        for manifest in (
            *_build_config_maps(serving, workload),
            _build_service(serving, workload),
            _build_deployment(serving, workload, images or Images()),
        )
    ]


def _build_config_maps(serving: Serving, workload: Workload) -> list[Json]:
    limits = workload.limits
    numbers = build_runtime(slots=limits.slots, depth=limits.depth)
    maps = [_build_object(serving, workload, "v1", "ConfigMap", suffix="-queue") | {"data": numbers}]
    if workload.script:
        script = {names.SCRIPT_FILE: workload.script}
        maps.append(_build_object(serving, workload, "v1", "ConfigMap", suffix="-script") | {"data": script})
    return maps


def _build_service(serving: Serving, workload: Workload) -> Json:
    """Headless: whoever calls chooses the instance, by its load."""
    spec = {
        "clusterIP": "None",
        "selector": build_labels(deployment=serving.name, role=workload.role),
        "ports": [{"name": "http", "port": names.QUEUE_PORT, "targetPort": "http"}],
    }
    return _build_object(serving, workload, "v1", "Service") | {"spec": spec}


def _build_deployment(serving: Serving, workload: Workload, images: Images) -> Json:
    labels = build_labels(deployment=serving.name, role=workload.role)
    spec = {
        "replicas": workload.replicas,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": {**serving.labels, **labels}},
            "spec": build_pod_spec(serving, workload, images),
        },
    }
    return _build_object(serving, workload, "apps/v1", "Deployment") | {"spec": spec}


def _build_object(serving: Serving, workload: Workload, api_version: str, kind: str, *, suffix: str = "") -> Json:
    labels = build_labels(deployment=serving.name, role=workload.role)
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": build_name(workload) + suffix,
            "namespace": serving.namespace,
            "labels": {**serving.labels, **labels},
        },
    }
