"""Whether Forebay itself is there: its CRDs, operator and gateway."""

from datetime import UTC, datetime
from typing import Any

from forebay.cluster.findings import Finding, State
from forebay.cluster.kinds import CRD, SYSTEM_NAMESPACE
from forebay.cluster.manifests import find_crds, read_manifests
from forebay.cluster.rollout import find_trouble, is_available, list_own_pods
from forebay.cluster.session import Cluster
from forebay.kube import lease as leases
from forebay.kube.match import is_as_wanted
from forebay.kube.resources import DEPLOYMENT, GATEWAY_SELECTOR, LEASE, OPERATOR_SELECTOR
from forebay.status.pods import find_condition

Json = dict[str, Any]

_INSTALL = "run `forebay install`, or install the Helm chart"
_UPGRADE = "run `forebay install`, or `helm upgrade`, with this version of forebay"


async def check_crds(cluster: Cluster) -> list[Finding]:
    """Each CRD is there, served, and has the schema that this version of the command knows."""
    return [await _check_crd(cluster, wanted) for wanted in find_crds(read_manifests())]


async def check_operator(cluster: Cluster) -> list[Finding]:
    """The operator's Deployments are available."""
    return await _check_deployments(cluster, "operator", OPERATOR_SELECTOR)


async def check_gateway(cluster: Cluster) -> list[Finding]:
    """The gateway's Deployments are available."""
    return await _check_deployments(cluster, "gateway", GATEWAY_SELECTOR)


async def check_leader(cluster: Cluster) -> list[Finding]:
    """One of the operator's pods holds the Lease, and renews it."""
    operators = await _find_deployments(cluster, OPERATOR_SELECTOR)
    findings = []
    for namespace in sorted({each["metadata"]["namespace"] for each in operators}):
        lease = await cluster.client.find(LEASE.path(namespace=namespace, name=leases.NAME))
        findings.append(describe_leader(lease or {}, namespace=namespace, now=datetime.now(UTC)))
    return findings


def describe_leader(lease: Json, *, namespace: str, now: datetime) -> Finding:
    """Whether a Lease is held."""
    spec = lease.get("spec", {})
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    logs = f"kubectl logs -n {namespace} -l {OPERATOR_SELECTOR}"
    if not holder or not renewed:
        return Finding(State.MISSING, "no operator leads: nothing is looked after", logs)
    age_s = (now - datetime.fromisoformat(renewed)).total_seconds()
    if age_s > spec.get("leaseDurationSeconds", 15):
        return Finding(State.MISSING, f"no operator leads: {holder} renewed its lease {age_s:.0f} s ago", logs)
    return Finding(State.OK, f"operator {holder} leads")


async def _check_crd(cluster: Cluster, wanted: Json) -> Finding:
    name = wanted["metadata"]["name"]
    found = await cluster.client.find(CRD.path(name=name))
    if found is None:
        return Finding(State.MISSING, f"the CRD {name} is not installed", _INSTALL)
    if find_condition(found, "Established").get("status") != "True":
        return Finding(State.MISSING, f"the CRD {name} is not served", f"kubectl describe crd {name}")
    if not is_as_wanted(wanted["spec"]["versions"], found["spec"]["versions"]):
        version = found["metadata"].get("labels", {}).get("app.kubernetes.io/version", "another")
        ours = wanted["metadata"].get("labels", {}).get("app.kubernetes.io/version", "")
        return Finding(State.MISSING, f"the CRD {name} is of version {version}, this command of {ours}", _UPGRADE)
    return Finding(State.OK, f"the CRD {name} is installed, and of this version")


async def _check_deployments(cluster: Cluster, what: str, selector: str) -> list[Finding]:
    found = await _find_deployments(cluster, selector)
    if not found:
        return [Finding(State.MISSING, f"no {what} runs", _INSTALL)]
    return [await _check_deployment(cluster, what, each) for each in found]


async def _check_deployment(cluster: Cluster, what: str, deployment: Json) -> Finding:
    metadata, status = deployment["metadata"], deployment.get("status", {})
    where = f"{metadata['namespace']}/{metadata['name']}"
    ready, wanted = status.get("availableReplicas", 0), deployment["spec"].get("replicas", 1)
    if is_available(deployment):
        return Finding(State.OK, f"the {what} {where} runs: {ready}/{wanted} instances")
    trouble = find_trouble(deployment, await list_own_pods(cluster.client, deployment))
    advice = (
        trouble.message if trouble else f"kubectl describe deployment -n {metadata['namespace']} {metadata['name']}"
    )
    state = State.NOTE if ready else State.MISSING
    return Finding(state, f"the {what} {where} has {ready}/{wanted} instances", advice)


async def _find_deployments(cluster: Cluster, selector: str) -> list[Json]:
    """In the usual namespace, or in any."""
    for namespace in (SYSTEM_NAMESPACE, ""):
        found = await cluster.client.read(DEPLOYMENT.path(namespace=namespace), labelSelector=selector)
        if found["items"]:
            return list(found["items"])
    return []
