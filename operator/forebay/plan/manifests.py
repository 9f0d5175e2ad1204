"""A ModelDeployment's children as plain Kubernetes manifests, one per list entry, ready to be created or applied."""

from collections.abc import Mapping, Sequence

from forebay.plan import names
from forebay.plan.autoscale import build_hpa_spec
from forebay.plan.depth import derive_depth
from forebay.plan.envoy import Json
from forebay.plan.envoy_queue import build_runtime
from forebay.plan.keda import build_scaled_object_spec
from forebay.plan.model_instances import build_scaler_numbers
from forebay.plan.names import WORKLOAD_LABEL, build_labels, build_owner_labels
from forebay.plan.network import build_network_policy_spec
from forebay.plan.pods import build_prefix, build_queue_map_name, build_script_map_name
from forebay.plan.providers import uses_keda
from forebay.plan.resolve import Scaling, Serving, Workload
from forebay.plan.site import Site
from forebay.plan.workloads import Planned, Revision, build_revision

# Loading a model takes its time: what the startup probe allows, and scheduling.
_PROGRESS_DEADLINE_S = 2400


def build_manifests(serving: Serving, site: Site | None = None, revision: Revision | None = None) -> list[Json]:
    """All children: what others refer to comes first."""
    site = site or Site()
    revision = revision or build_revision(serving, site)
    return [
        _build_service_account(serving),
        _build_gateway_name(serving, site),
        *(
            manifest
            for planned in revision.workloads
            for manifest in (
                *_build_config_maps(serving, planned.workload),
                _build_network_policy(serving, planned.workload, site),
                _build_members(serving, planned),
                _build_deployment(serving, planned),
                *_build_disruption_budget(serving, planned.workload),
                *build_autoscaler(serving, planned, site),
            )
        ),
    ]


def build_autoscaler(serving: Serving, planned: Planned, site: Site) -> list[Json]:
    """Who scales a workload: one, or none."""
    scaling = planned.workload.scaling
    if serving.suspended or not scaling.automatic:
        return []
    if uses_keda(scaling, site):
        spec = build_scaled_object_spec(
            scaling, namespace=serving.namespace, target=planned.name, prometheus_url=site.prometheus_url
        )
        return [_build_workload_part(serving, planned, "keda.sh/v1alpha1", "ScaledObject") | {"spec": spec}]
    child = _build_workload_part(serving, planned, "autoscaling/v2", "HorizontalPodAutoscaler")
    return [child | {"spec": build_hpa_spec(scaling, target=planned.name)}]


def with_service_times(serving: Serving, manifests: Sequence[Json], service_s: Mapping[str, float]) -> list[Json]:
    """The manifests with queues as deep as measured service times allow, by the name of the ConfigMap.

    The time stands in an annotation, so that whoever comes next needn't measure anew.
    """
    limits = {build_queue_map_name(workload): workload.limits for workload in serving.workloads}
    made = []
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "ConfigMap" and name in service_s and limits[name].depth_derived:
            queue = limits[name]
            # As it is written: whoever reads it again comes to the same depth.
            told = f"{service_s[name]:.3g}"
            depth = derive_depth(slots=queue.slots, service_s=float(told), deadline_s=queue.timeout_s)
            annotations = {names.SERVICE_TIME_ANNOTATION: f"{told}s"}
            made.append(
                {
                    **manifest,
                    "metadata": {**manifest["metadata"], "annotations": annotations},
                    "data": manifest["data"] | build_runtime(slots=queue.slots, depth=depth),
                }
            )
        else:
            made.append(manifest)
    return made


def _build_service_account(serving: Serving) -> Json:
    return _build_object(serving, "v1", "ServiceAccount", serving.name) | {"automountServiceAccountToken": False}


def _build_gateway_name(serving: Serving, site: Site) -> Json:
    """http://NAME.NAMESPACE in the cluster is the gateway, which knows the model by that host."""
    ports = [{"name": "http", "port": 80}]
    spec = {"type": "ExternalName", "externalName": site.gateway_host, "ports": ports}
    return _build_object(serving, "v1", "Service", serving.name) | {"spec": spec}


def _build_config_maps(serving: Serving, workload: Workload) -> list[Json]:
    limits = workload.limits
    numbers = build_runtime(slots=limits.slots, depth=limits.depth) | build_scaler_numbers(workload)
    maps = [_build_part(serving, workload, "v1", "ConfigMap", build_queue_map_name(workload)) | {"data": numbers}]
    if workload.script:
        script = {"data": {names.SCRIPT_FILE: workload.script}, "immutable": True}
        maps.append(_build_part(serving, workload, "v1", "ConfigMap", build_script_map_name(workload)) | script)
    return maps


def _build_network_policy(serving: Serving, workload: Workload, site: Site) -> Json:
    child = _build_part(serving, workload, "networking.k8s.io/v1", "NetworkPolicy", build_prefix(workload))
    return child | {"spec": build_network_policy_spec(workload, site)}


def _build_disruption_budget(serving: Serving, workload: Workload) -> list[Json]:
    """One instance at a time, so that a node can always be drained. Of one alone it would protect nothing."""
    if workload.scaling.most <= 1:
        return []
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": build_labels(deployment=serving.name, role=workload.role)},
    }
    return [_build_part(serving, workload, "policy/v1", "PodDisruptionBudget", build_prefix(workload)) | {"spec": spec}]


def _build_members(serving: Serving, planned: Planned) -> Json:
    """Headless: whoever calls chooses the instance, by its load."""
    spec = {
        "clusterIP": "None",
        "selector": _build_selector(serving, planned),
        "ports": [{"name": "http", "port": names.QUEUE_PORT, "targetPort": "http"}],
    }
    return _build_workload_part(serving, planned, "v1", "Service") | {"spec": spec}


def _build_deployment(serving: Serving, planned: Planned) -> Json:
    scaling = planned.workload.scaling
    spec = {
        **_build_replicas(serving, scaling),
        "revisionHistoryLimit": 0,
        "progressDeadlineSeconds": _PROGRESS_DEADLINE_S,
        "selector": {"matchLabels": _build_selector(serving, planned)},
        "template": planned.template,
    }
    return _build_workload_part(serving, planned, "apps/v1", "Deployment") | {"spec": spec}


def _build_replicas(serving: Serving, scaling: Scaling) -> Json:
    """What a HorizontalPodAutoscaler owns is not written, nor what whoever wakes it writes."""
    if serving.suspended:
        return {"replicas": 0}
    return {} if scaling.automatic or serving.idle_s else {"replicas": scaling.least}


def _build_selector(serving: Serving, planned: Planned) -> dict[str, str]:
    return build_labels(deployment=serving.name, role=planned.role) | {WORKLOAD_LABEL: planned.name}


def _build_workload_part(serving: Serving, planned: Planned, api_version: str, kind: str) -> Json:
    child = _build_object(serving, api_version, kind, planned.name)
    child["metadata"]["labels"] |= _build_selector(serving, planned)
    return child


def _build_part(serving: Serving, workload: Workload, api_version: str, kind: str, name: str) -> Json:
    child = _build_object(serving, api_version, kind, name)
    child["metadata"]["labels"] |= build_labels(deployment=serving.name, role=workload.role)
    return child


def _build_object(serving: Serving, api_version: str, kind: str, name: str) -> Json:
    labels = {**serving.labels, **build_owner_labels(deployment=serving.name)}
    metadata = {"name": name, "namespace": serving.namespace, "labels": labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
