"""The ModelDeployments of a cluster, as a command finds them."""

import difflib
from collections.abc import Mapping
from typing import Any

from forebay.cluster.errors import ClusterError
from forebay.cluster.session import Cluster
from forebay.kube.client import ApiError
from forebay.kube.resources import DEPLOYMENT, MODEL_DEPLOYMENT, POD, Resource
from forebay.plan.names import build_owner_labels

Json = dict[str, Any]

NOT_INSTALLED = "Forebay isn't installed in this cluster: run `forebay install`"


async def list_deployments(cluster: Cluster, *, everywhere: bool = False) -> list[Json]:
    """The ModelDeployments of the namespace, or of all."""
    path = MODEL_DEPLOYMENT.path(namespace="" if everywhere else cluster.namespace)
    found = await cluster.client.find(path)
    if found is None:
        raise ClusterError(NOT_INSTALLED)
    items: list[Json] = found["items"]
    return items


async def find_deployment(cluster: Cluster, name: str) -> Json:
    """A ModelDeployment. Raises ClusterError with what there is instead."""
    found = await cluster.client.find(MODEL_DEPLOYMENT.path(namespace=cluster.namespace, name=name))
    if found:
        return found
    here = [each["metadata"]["name"] for each in await list_deployments(cluster)]
    raise ClusterError(
        f"there is no ModelDeployment {name} in namespace {cluster.namespace}"
        + (_suggest(name, here) or await _look_elsewhere(cluster, name))
    )


async def list_pods(cluster: Cluster, name: str) -> list[Json]:
    """The pods of a ModelDeployment."""
    return sorted(await list_own(cluster, name, POD), key=lambda pod: str(pod["metadata"]["name"]))


async def list_workloads(cluster: Cluster, name: str) -> list[Json]:
    """The Deployments of a ModelDeployment."""
    return await list_own(cluster, name, DEPLOYMENT)


async def list_own(cluster: Cluster, name: str, kind: Resource) -> list[Json]:
    """What has the labels of a ModelDeployment."""
    selector = ",".join(f"{key}={value}" for key, value in build_owner_labels(deployment=name).items())
    found = await cluster.client.read(kind.path(namespace=cluster.namespace), labelSelector=selector)
    items: list[Json] = found["items"]
    return items


def is_current(deployment: Mapping[str, Any]) -> bool:
    """Whether the status is of the spec as it is now."""
    seen = deployment.get("status", {}).get("observedGeneration", 0)
    return bool(seen == deployment["metadata"].get("generation", 0))


def _suggest(name: str, here: list[str]) -> str:
    near = difflib.get_close_matches(name, here, n=1)
    return f": did you mean {near[0]}?" if near else ""


async def _look_elsewhere(cluster: Cluster, name: str) -> str:
    try:
        found = await list_deployments(cluster, everywhere=True)
    except ApiError:
        return ": `forebay status` lists what there is"
    places = sorted(each["metadata"]["namespace"] for each in found if each["metadata"]["name"] == name)
    if places:
        return f": there is one in {' and '.join(places)}, write -n {places[0]}"
    return ": `forebay status -A` lists what there is"
