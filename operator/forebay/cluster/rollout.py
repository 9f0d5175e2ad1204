"""Waiting for Forebay's own Deployments, and saying why one doesn't come up."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.cluster.errors import ClusterError
from forebay.kube.client import ApiError, Client
from forebay.kube.resources import DEPLOYMENT, POD

Json = dict[str, Any]

_PAUSE_S = 1.0
# What is wrong for so long won't go away by waiting.
_PATIENCE_S = 30.0
_PASSING = ("PodInitializing", "ContainerCreating", "")
_LOG_LINES = 8


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What keeps a Deployment from being available. `pod` and `container` are those whose log tells more."""

    message: str
    lasts: bool = False
    pod: str = ""
    container: str = ""


async def wait_until_available(
    client: Client, deployments: Sequence[Json], *, timeout_s: float, say: Callable[[str], None]
) -> None:
    """Wait for all of them. Raises ClusterError with what is wrong, soon where waiting doesn't help."""
    deadline = time.monotonic() + timeout_s
    since: dict[str, float] = {}
    waiting = {each["metadata"]["name"]: each["metadata"]["namespace"] for each in deployments}
    while waiting:
        troubles = {}
        for name, namespace in list(waiting.items()):
            found = await client.read(DEPLOYMENT.path(namespace=namespace, name=name))
            if is_available(found):
                say(f"{name} is available: {found['status']['availableReplicas']} instances")
                del waiting[name]
            elif trouble := find_trouble(found, await list_own_pods(client, found)):
                troubles[name] = trouble
                if trouble.message not in since:
                    say(f"{name}: {trouble.message}")
        now = time.monotonic()
        since = {each.message: since.get(each.message, now) for each in troubles.values()}
        for name, trouble in troubles.items():
            if now > deadline or (trouble.lasts and now - since[trouble.message] > _PATIENCE_S):
                told = await _read_log(client, waiting[name], trouble)
                raise ClusterError(f"{name} does not start: {trouble.message}{told}")
        if waiting and now > deadline:
            names = " and ".join(waiting)
            raise ClusterError(f"{names} not available after {timeout_s:.0f} s: kubectl get pods -n {namespace}")
        if waiting:
            await asyncio.sleep(_PAUSE_S)


def is_available(deployment: Json) -> bool:
    """Whether all instances are of the present template, and available."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("availableReplicas", 0) >= wanted
        and status.get("replicas", 0) == wanted
    )


async def list_own_pods(client: Client, deployment: Json) -> list[Json]:
    """The pods of a Deployment."""
    selector = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())
    path = POD.path(namespace=deployment["metadata"]["namespace"])
    items: list[Json] = (await client.read(path, labelSelector=selector))["items"]
    return items


def find_trouble(deployment: Json, pods: Sequence[Json]) -> Trouble | None:
    """The first thing that is wrong with a Deployment and its pods."""
    for condition in deployment.get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Trouble(message=f"its pods are refused: {condition.get('message', '')}", lasts=True)
    found = (trouble for pod in pods for trouble in [_find_in_pod(pod)] if trouble)
    return next(found, None)


def _find_in_pod(pod: Json) -> Trouble | None:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Trouble(message=f"pod {name} finds no node: {condition.get('message', '')}")
    for each in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = each.get("state", {}).get("waiting") or {}
        ended = each.get("state", {}).get("terminated") or {}
        where = f"pod {name}, container {each['name']}"
        if waiting.get("reason", "") not in (*_PASSING, "CrashLoopBackOff"):
            told = f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
            advice = f" (image {each['image']}; another one: --image)" if "mage" in waiting["reason"] else ""
            return Trouble(message=f"{where}: {told}{advice}", lasts=True)
        if waiting.get("reason") == "CrashLoopBackOff" or ended.get("exitCode"):
            last = ended or each.get("lastState", {}).get("terminated") or {}
            how = last.get("reason") if last.get("reason") == "OOMKilled" else f"status {last.get('exitCode')}"
            return Trouble(message=f"{where} ended ({how})", lasts=True, pod=name, container=each["name"])
    return None


async def _read_log(client: Client, namespace: str, trouble: Trouble) -> str:
    if not trouble.pod:
        return ""
    path = POD.path(namespace=namespace, name=trouble.pod, subresource="log")
    try:
        text = await client.read_text(path, container=trouble.container, tailLines=str(_LOG_LINES))
    except ApiError:
        return ""
    return f"; the end of its log:\n{text.rstrip()}" if text.strip() else ""
