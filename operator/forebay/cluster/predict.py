"""`forebay predict` to a ModelDeployment of a cluster, through the gateway, with no kubectl and no open port."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rich.console import Console

from forebay.cluster.deployments import find_deployment
from forebay.cluster.errors import ClusterError
from forebay.cluster.kinds import SYSTEM_NAMESPACE
from forebay.cluster.port_forward import PortForward
from forebay.cluster.session import Cluster, Target, connect
from forebay.cluster.wording import describe_ready
from forebay.errors import UserError
from forebay.kube.client import ApiError
from forebay.kube.resources import GATEWAY_SELECTOR, POD
from forebay.plan.names import QUEUE_PORT, Role
from forebay.sending import Receiver, send
from forebay.status.pods import find_condition, is_ready

Json = dict[str, Any]

GATEWAY_PORT = QUEUE_PORT
_ADVICE = {
    HTTPStatus.UNAUTHORIZED: "give the key with --api-key KEY or $FOREBAY_API_KEY",
    HTTPStatus.NOT_FOUND: "the gateway may not know it yet: forebay check",
}


async def predict(target: Target, name: str, files: Sequence[Path], *, api_key: str, console: Console) -> bool:
    """Send files and print the answers; False when one was refused."""
    async with connect(target) as cluster:
        deployment = await find_deployment(cluster, name)
        check_serving(deployment, flags=target.flags)
        async with reach(cluster, deployment) as (base, forward):
            to = build_receiver(deployment, base=base, api_key=api_key)
            try:
                return all([await asyncio.to_thread(send, to, file, console=console) for file in files])
            except UserError as error:
                if forward and forward.trouble:
                    raise ClusterError(
                        f"the gateway can't be reached through the apiserver: {forward.trouble}"
                    ) from error
                raise


def check_serving(deployment: Json, *, flags: str) -> None:
    """Raise ClusterError with its reason where nobody would answer."""
    if find_condition(deployment, "Available").get("status") == "True":
        return
    ready, name = describe_ready(deployment), deployment["metadata"]["name"]
    raise ClusterError(
        f"{name} is not ready ({ready['reason']}): {ready['message']}. More: forebay status {name}{flags}"
    )


def build_receiver(deployment: Json, *, base: str, api_key: str = "") -> Receiver:
    """Who answers for a ModelDeployment, and at which address."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    transformed = bool(spec.get("transformer"))
    model = (spec["predictor"].get("triton") or {}).get("model") or metadata["name"]
    path = f"{metadata['namespace']}/{metadata['name']}"
    headers: Mapping[str, str] = {"x-api-key": api_key} if api_key else {}
    return Receiver(
        name=path,
        url=f"{base.rstrip('/')}/{path}",
        model=metadata["name"] if transformed else model,
        entry=str(Role.TRANSFORMER if transformed else Role.PREDICTOR),
        headers=headers,
        advice={int(status): text for status, text in _ADVICE.items()},
    )


@asynccontextmanager
async def reach(cluster: Cluster, deployment: Json) -> AsyncIterator[tuple[str, PortForward | None]]:
    """The base URL of the gateway: a port of one of its pods, or its address outside where that isn't allowed."""
    try:
        pod = await find_gateway(cluster)
        forward = PortForward(
            cluster.client, namespace=pod["metadata"]["namespace"], pod=pod["metadata"]["name"], port=GATEWAY_PORT
        )
        await forward.check()
    except ApiError as error:
        external = deployment.get("status", {}).get("externalUrl", "")
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        if not external:
            raise ClusterError(
                f"{error}. To send from here you need the rights to list pods and to create pods/portforward where the "
                "gateway runs, or the gateway an address outside (gateway.url of the chart)"
            ) from None
        yield external.removesuffix(f"/{deployment['metadata']['namespace']}/{deployment['metadata']['name']}"), None
        return
    async with forward.listen() as address:
        yield f"http://{address}", forward


async def find_gateway(cluster: Cluster) -> Json:
    """A pod of the gateway that is ready, wherever Forebay was installed."""
    pods = await list_gateways(cluster)
    ready = [pod for pod in pods if is_ready(pod)]
    if ready:
        return ready[0]
    if pods:
        namespace = pods[0]["metadata"]["namespace"]
        raise ClusterError(f"no pod of the gateway is ready: kubectl get pods -n {namespace}, or forebay check")
    raise ClusterError(
        "no gateway runs in this cluster: forebay check tells what is missing, forebay install installs it"
    )


async def list_gateways(cluster: Cluster) -> list[Json]:
    """The gateway's pods, in the usual namespace or in any."""
    for namespace in (SYSTEM_NAMESPACE, ""):
        found: Json = await cluster.client.read(POD.path(namespace=namespace), labelSelector=GATEWAY_SELECTOR)
        if found["items"]:
            return list(found["items"])
    return []
