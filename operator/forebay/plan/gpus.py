"""The GPUs of an instance: whole ones, a share of one by the name of its resource, or what a claim asks for (DRA)."""

from forebay.plan.envoy import Json
from forebay.plan.names import build_labels
from forebay.plan.resolve import ServerResources, Workload

# In the pod, of its one claim.
_CLAIM = "gpu"
_MIG, _SHARED = "/mig-", ".shared"
_MOST_WEIGHT = 100


def build_gpu_limits(resources: ServerResources) -> dict[str, str]:
    """The extended resource that a container takes."""
    return {resources.gpu_resource: str(resources.gpu_count)} if resources.gpu_count else {}


def build_container_claims(resources: ServerResources) -> Json:
    """The claim that a container uses."""
    return {"claims": [{"name": _CLAIM}]} if resources.gpu_claim else {}


def build_gpu_placement(workload: Workload) -> Json:
    """What a pod's spec says of its GPU: its claim, and that it goes where others of its kind share one."""
    resources = workload.resources
    claim = {"name": _CLAIM, "resourceClaimTemplateName": resources.gpu_claim}
    return {
        **({"resourceClaims": [claim]} if resources.gpu_claim else {}),
        **({"affinity": _build_packing(workload)} if _is_shared(resources) else {}),
    }


def _is_shared(resources: ServerResources) -> bool:
    """Whether several instances may have one GPU: MIG slices, time slices, MPS, and whatever a claim may be."""
    by_name = _MIG in resources.gpu_resource or resources.gpu_resource.endswith(_SHARED)
    return bool(resources.gpu_claim) or (bool(resources.gpu_count) and by_name)


def _build_packing(workload: Workload) -> Json:
    """Beside each other as far as there is room, so that a GPU is full before another node's is begun."""
    labels = build_labels(deployment=workload.deployment, role=workload.role)
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": _MOST_WEIGHT, "podAffinityTerm": term}]
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
