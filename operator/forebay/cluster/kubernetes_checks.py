"""Whether a cluster has what Forebay's pods need."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from forebay.cluster.findings import Finding, State
from forebay.cluster.kinds import ACCESS_REVIEW, NAMESPACE, NODE, OLDEST_MINOR
from forebay.cluster.session import Cluster
from forebay.kube.client import ApiError
from forebay.kube.resources import MODEL_DEPLOYMENT, POD, Resource
from forebay.status.pods import find_condition

Json = dict[str, Any]

_ENFORCE = "pod-security.kubernetes.io/enforce"
# Extended resources that are no accelerators.
_OTHERS = re.compile(r"(^|\.)(kubernetes\.io|k8s\.io|amazonaws\.com)/|^hugepages-")
_RIGHTS: tuple[tuple[str, Resource, str], ...] = (
    ("create", MODEL_DEPLOYMENT, ""),
    ("get", MODEL_DEPLOYMENT, ""),
    ("get", POD, "log"),
)


async def check_version(cluster: Cluster) -> list[Finding]:
    """The apiserver answers, and is new enough."""
    return [describe_version(await cluster.client.read("/version"), cluster.client.url)]


def describe_version(version: Mapping[str, str], url: str) -> Finding:
    """Whether a version has what Forebay's pods are made of."""
    name = version.get("gitVersion", "?")
    numbers = [int(re.sub(r"\D.*", "", version.get(part, "")) or 0) for part in ("major", "minor")]
    if numbers < [1, OLDEST_MINOR]:
        return Finding(
            State.MISSING,
            f"the cluster is Kubernetes {name}, which is too old for Forebay's pods",
            f"Forebay needs 1.{OLDEST_MINOR} or newer: upgrade the cluster",
        )
    return Finding(State.OK, f"the apiserver at {url} answers: Kubernetes {name}")


async def check_nodes(cluster: Cluster) -> list[Finding]:
    """There are nodes, and what accelerators they have."""
    return describe_nodes((await cluster.client.read(NODE.path()))["items"])


def describe_nodes(nodes: Sequence[Json]) -> list[Finding]:
    """The nodes that are ready, and what of accelerators pods can ask for."""
    ready = [node for node in nodes if find_condition(node, "Ready").get("status") == "True"]
    if not ready:
        return [Finding(State.MISSING, f"no node is ready, of {len(nodes)}", "kubectl describe nodes")]
    findings = [Finding(State.OK, f"{len(ready)} of {len(nodes)} nodes are ready")]
    found: Counter[str] = Counter()
    for node in ready:
        for name, amount in node["status"].get("allocatable", {}).items():
            if "/" in name and not _OTHERS.search(name) and str(amount).isdigit():
                found[name] += int(amount)
    if gpus := [f"{amount} {name}" for name, amount in sorted(found.items()) if amount]:
        return [*findings, Finding(State.OK, f"allocatable: {', '.join(gpus)}")]
    advice = "models run on CPUs; with GPUs in the nodes, install their device plugin (NVIDIA's GPU operator)"
    return [*findings, Finding(State.NOTE, "no node has GPUs to allocate", advice)]


async def check_metrics(cluster: Cluster) -> list[Finding]:
    """The metrics API, which autoscaling by CPU or memory reads."""
    try:
        await cluster.client.read("/apis/metrics.k8s.io/v1beta1")
    except ApiError as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE):
            raise
        advice = "only autoscaling.target.cpu and .memory need it: install metrics-server"
        return [Finding(State.NOTE, "the metrics API is not served", advice)]
    return [Finding(State.OK, "the metrics API is served, for autoscaling by CPU and memory")]


async def check_namespace(cluster: Cluster) -> list[Finding]:
    """The namespace is there, and lets Forebay's pods in."""
    name = cluster.namespace
    namespace = await cluster.client.find(NAMESPACE.path(name=name))
    if namespace is None:
        return [Finding(State.MISSING, f"there is no namespace {name}", f"kubectl create namespace {name}")]
    level = namespace["metadata"].get("labels", {}).get(_ENFORCE, "")
    if not level:
        return [
            Finding(State.OK, f"namespace {name} enforces no Pod Security level of its own; Forebay's pods fit any")
        ]
    return [Finding(State.OK, f"namespace {name} enforces Pod Security `{level}`; Forebay's pods fit `restricted`")]


async def check_rights(cluster: Cluster) -> list[Finding]:
    """What the user may do in the namespace."""
    denied = []
    for verb, resource, subresource in _RIGHTS:
        attributes = {
            "namespace": cluster.namespace,
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            **({"subresource": subresource} if subresource else {}),
        }
        body = {
            "apiVersion": ACCESS_REVIEW.api_version,
            "kind": ACCESS_REVIEW.kind,
            "spec": {"resourceAttributes": attributes},
        }
        answer = await cluster.client.write("POST", ACCESS_REVIEW.path(), body)
        if not answer.body["status"].get("allowed"):
            denied.append(f"{verb} {'/'.join(filter(None, (resource.plural, subresource)))}")
    if not denied:
        return [
            Finding(State.OK, f"you may create ModelDeployments in namespace {cluster.namespace}, and read pods' logs")
        ]
    advice = f"ask for the ClusterRole `edit` in namespace {cluster.namespace}: Forebay adds its own rights to it"
    return [Finding(State.MISSING, f"you may not {' or '.join(denied)} in namespace {cluster.namespace}", advice)]


async def check_network(_cluster: Cluster) -> list[Finding]:
    """Nothing in the API tells whether the network plugin heeds NetworkPolicies."""
    what = "whether this cluster's network heeds NetworkPolicies can't be asked"
    return [Finding(State.UNKNOWN, what, "without (as with flannel), any pod can reach models past the gateway")]
