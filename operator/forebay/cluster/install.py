"""`forebay install` and `forebay uninstall`."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from forebay.api.dump import dump_documents
from forebay.cluster.deployments import list_deployments
from forebay.cluster.errors import ClusterError
from forebay.cluster.kinds import CRD, NAMESPACE, SYSTEM_NAMESPACE, VOLUME_CLAIM
from forebay.cluster.manifests import build_manifests, find_crds
from forebay.cluster.objects import Objects, apply_all
from forebay.cluster.rollout import wait_until_available
from forebay.cluster.session import Cluster, Target, connect
from forebay.kube.client import Client
from forebay.kube.resources import (
    API_SERVICE,
    DEPLOYMENT,
    IMAGE_BUILD,
    MODEL_DEPLOYMENT,
    MODEL_VERSION,
    POD,
    SECRET,
    Resource,
)
from forebay.plan.names import COMPONENT_LABEL
from forebay.status.lines import list_words

Json = dict[str, Any]

# Namespaces that are there without Forebay.
_KUBERNETES_OWN = ("default", "kube-system", "kube-public", "kube-node-lease")
_WORTH_KEEPING = (MODEL_DEPLOYMENT, MODEL_VERSION, IMAGE_BUILD, POD, DEPLOYMENT, VOLUME_CLAIM, SECRET)
_OTHER_METRICS = "models scale on cpu, memory and what that offers; with Helm see autoscaling.provider"
_NEXT = """
Next:
  kubectl apply{flags} -f FILE.yaml       # a ModelDeployment
  forebay status NAME{flags}
  forebay predict NAME FILE{flags}
"""


def render(namespace: str, images: Mapping[str, str]) -> str:
    """What would be applied, as YAML."""
    return dump_documents(build_manifests(namespace=namespace, images=images))


async def install(target: Target, *, images: Mapping[str, str], timeout_s: float, console: Console) -> None:
    """Apply the manifests, and wait until the operator and the gateway are available."""
    namespace = target.namespace or SYSTEM_NAMESPACE
    wanted = build_manifests(namespace=namespace, images=images)

    def say(text: str) -> None:
        console.print(f"[dim]•[/] {escape(text)}", highlight=False, soft_wrap=True)

    async with connect(target) as cluster:
        say(f"installing Forebay in namespace {namespace} of context {cluster.context}")
        manifests, owner = await _leave_out_metrics(cluster.client, wanted)
        if owner:
            say(f"the cluster's custom-metrics API is {owner}'s and stays so: {_OTHER_METRICS}")
        deployments = [each for each in manifests if each["kind"] == DEPLOYMENT.kind]
        await _check_free(cluster.client, deployments)
        with console.status("applying"):
            await apply_all(cluster.client, manifests, say=say)
        with console.status("waiting for the operator and the gateway"):
            await wait_until_available(cluster.client, deployments, timeout_s=timeout_s, say=say)
    console.print("[green]✓[/] Forebay runs", highlight=False)
    flags = Target(context=target.context, kubeconfig=target.kubeconfig).flags
    console.print(_NEXT.format(flags=flags).rstrip(), markup=False, highlight=False, soft_wrap=True)


async def uninstall(target: Target, *, crds: bool, console: Console) -> None:
    """Delete what install applies. CRDs, and with them all ModelDeployments, only where asked for."""
    namespace = target.namespace or SYSTEM_NAMESPACE
    kept = (NAMESPACE.kind, *(() if crds else (CRD.kind,)))
    async with connect(target) as cluster:
        manifests, _ = await _leave_out_metrics(cluster.client, build_manifests(namespace=namespace))
        await _check_free(cluster.client, [each for each in manifests if each["kind"] == DEPLOYMENT.kind])
        objects = Objects(cluster.client)
        gone = [each for each in reversed(manifests) if each["kind"] not in kept and await objects.delete(each)]
        for each in gone:
            console.print(f"{each['kind']} {each['metadata']['name']} deleted", highlight=False)
        if not gone:
            console.print(f"nothing of Forebay was found in namespace {namespace}", highlight=False)
        console.print(await _remove_namespace(cluster.client, objects, namespace), highlight=False, soft_wrap=True)
        if not crds:
            await _tell_what_stays(cluster, manifests, console)


async def describe_objects(target: Target) -> str:
    """What goes with the CRDs, in words; empty where nothing does."""
    async with connect(target) as cluster:
        kinds = (MODEL_DEPLOYMENT, MODEL_VERSION, IMAGE_BUILD)
        counts = {each.kind: len(await _list(cluster.client, each, "")) for each in kinds}
    return " and ".join(f"{count} {kind}s" for kind, count in counts.items() if count)


async def _leave_out_metrics(client: Client, manifests: list[Json]) -> tuple[list[Json], str]:
    """The manifests, less the custom-metrics API where that is another's already, and whose it is."""
    (wanted,) = [each for each in manifests if each["kind"] == API_SERVICE.kind]
    found = await client.find(API_SERVICE.path(name=wanted["metadata"]["name"]))
    service = (found or wanted)["spec"].get("service") or {}
    owner = (service.get("namespace"), service.get("name"))
    if owner == (wanted["spec"]["service"]["namespace"], wanted["spec"]["service"]["name"]):
        return manifests, ""
    left = [each for each in manifests if each["metadata"].get("labels", {}).get(COMPONENT_LABEL) != "metrics"]
    return left, "/".join(str(each) for each in owner)


async def _check_free(client: Client, deployments: list[Json]) -> None:
    """What Helm or Argo CD look after, they would put back."""
    for each in deployments:
        metadata = each["metadata"]
        found = await client.find(DEPLOYMENT.path(namespace=metadata["namespace"], name=metadata["name"]))
        release = found["metadata"].get("annotations", {}).get("meta.helm.sh/release-name") if found else None
        if release:
            raise ClusterError(
                f"Forebay was installed with Helm here, as release {release}: use "
                f"`helm upgrade {release} -n {metadata['namespace']}` or `helm uninstall` instead"
            )


async def _remove_namespace(client: Client, objects: Objects, namespace: str) -> str:
    if namespace in _KUBERNETES_OWN:
        return f"namespace {namespace} stays: it is not Forebay's"
    for resource in _WORTH_KEEPING:
        if others := [each for each in await _list(client, resource, namespace) if not _is_own(each)]:
            name = others[0]["metadata"]["name"]
            return f"namespace {namespace} stays: there are others' objects in it, such as {resource.kind} {name}"
    manifest = {"apiVersion": NAMESPACE.api_version, "kind": NAMESPACE.kind, "metadata": {"name": namespace}}
    return f"Namespace {namespace} {'deleted' if await objects.delete(manifest) else 'is gone already'}"


async def _list(client: Client, resource: Resource, namespace: str) -> list[Json]:
    found = await client.find(resource.path(namespace=namespace))
    return list(found["items"]) if found else []  # the CRD may be gone


def _is_own(item: Json) -> bool:
    labels = item["metadata"].get("labels", {})
    return labels.get(COMPONENT_LABEL) in ("operator", "gateway", "metrics")


async def _tell_what_stays(cluster: Cluster, manifests: list[Json], console: Console) -> None:
    try:
        left = len(await list_deployments(cluster, everywhere=True))
    except ClusterError:
        return
    names = list_words(each["metadata"]["name"] for each in find_crds(manifests))
    console.print(
        f"[yellow]![/] kept: the CRDs {names}, and {left} ModelDeployments. Their pods run on, but nobody routes to "
        "them or looks after them until Forebay is installed again. `forebay uninstall --crds` deletes these, too.",
        highlight=False,
        soft_wrap=True,
    )
