"""The children of a ModelDeployment: whose they are, what they are, and which of them stay."""

from collections.abc import Mapping
from typing import Any

from forebay.controller.applying import SCALERS
from forebay.kube.apply import OwnerReference
from forebay.kube.children import Child, Id
from forebay.kube.holdings import Owner
from forebay.kube.resources import AUTOSCALER, MODEL_DEPLOYMENT
from forebay.plan.names import cut_digest
from forebay.rollout.state import Decision

Json = dict[str, Any]


def identify(manifest: Mapping[str, Any]) -> Id:
    """What a manifest is of."""
    return Id(manifest["kind"], manifest["metadata"]["name"])


def refer_to(body: Mapping[str, Any]) -> OwnerReference:
    """The reference to a ModelDeployment that its children carry."""
    metadata = body["metadata"]
    return OwnerReference(
        owner=Owner(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        api_version=MODEL_DEPLOYMENT.api_version,
        kind=MODEL_DEPLOYMENT.kind,
    )


def unpack_deployments(children: Mapping[Id, Child]) -> dict[str, Json]:
    """The Deployments among the children, by name."""
    return {key.name: child.content for key, child in children.items() if key.kind == "Deployment"}


def unpack_scalers(children: Mapping[Id, Child]) -> list[Json]:
    """HorizontalPodAutoscalers, those that KEDA makes too, and ScaledObjects, in the order of their names."""
    return [child.content for key, child in sorted(children.items()) if key.kind in SCALERS]


def find_kept(deployments: Mapping[str, Json], workloads: frozenset[str], decision: Decision) -> set[Id]:
    """The children of workloads that stay: what they are, what their pods read, and what protects these. Some have
    nobody who changes the number of their instances, which KEDA does also where there are none.
    """
    kept = set()
    for name in workloads & deployments.keys():
        kept |= {Id(kind, name) for kind in ("Deployment", "Service", *_list_scalers(name, decision))}
        kept |= {Id(kind, cut_digest(name)) for kind in ("PodDisruptionBudget", "NetworkPolicy")}
        volumes = deployments[name]["spec"]["template"]["spec"].get("volumes", ())
        kept |= {Id("ConfigMap", volume["configMap"]["name"]) for volume in volumes if "configMap" in volume}
    return kept


def _list_scalers(workload: str, decision: Decision) -> tuple[str, ...]:
    if workload in decision.unscaled:
        return ()
    return (AUTOSCALER.kind,) if workload in decision.ended else SCALERS
