"""`forebay promote`, `abort`, `rollback` and others: each patches fields of the spec, as Git or kubectl may, too."""

import asyncio
from typing import Any

from rich.console import Console

from forebay.cluster.deployments import find_deployment, is_current
from forebay.cluster.errors import ClusterError
from forebay.cluster.records import choose_record, find_last_served, list_records
from forebay.cluster.session import Cluster, Target, connect
from forebay.kube.client import MERGE_PATCH
from forebay.kube.resources import MODEL_DEPLOYMENT

Json = dict[str, Any]
_MANAGER = "forebay-cli"
_PAUSE_S = 0.5
_PATIENCE_S = 10.0


async def promote(target: Target, name: str, *, full: bool, console: Console) -> None:
    """Let the rollout go on with its next step, or to its end. Raises ClusterError where there is nothing to go on."""
    async with connect(target) as cluster:
        found = await _find_current(cluster, name)
        rollout = _find_rollout(found, name)
        if rollout["phase"] == "Aborted":
            raise ClusterError(f"the rollout of {name} was aborted: `forebay resume {name}` tries it again")
        if rollout["phase"] == "Failed" and not full:
            raise ClusterError(
                f"revision {rollout['revision']} has failed: `forebay retry {name}` tries it again, and "
                f"`forebay promote {name} --full` lets it take over all the same"
            )
        if found["spec"].get("rollout", {}).get("paused"):
            raise ClusterError(f"the rollout of {name} is paused: write `forebay resume {name}` first")
        if not rollout["steps"] and rollout["phase"] != "Failed":
            raise ClusterError(f"the rollout of {name} has no steps: it goes on by itself")
        step = None if full else max(1, rollout["step"])
        await _patch(cluster, name, {"promote": {"revision": rollout["revision"], "step": step}})
        how = "to its end" if step is None or step == rollout["steps"] else f"to step {(step or 0) + 1}"
        console.print(f"revision {rollout['revision']} goes on {how}", highlight=False)


async def abort(target: Target, name: str, *, console: Console) -> None:
    """Send all requests back to what serves. Raises ClusterError where nothing else is on its way."""
    async with connect(target) as cluster:
        status = (await _find_current(cluster, name))["status"]
        wanted, active = status.get("targetRevision", ""), status.get("activeRevision", "")
        if not active or wanted == active:
            raise ClusterError(f"there is no rollout of {name} to abort: {wanted or 'nothing'} serves")
        await _patch(cluster, name, {"abort": wanted})
        console.print(f"revision {wanted} gets no requests any more: {active} serves", highlight=False)


async def retry(target: Target, name: str, *, console: Console) -> None:
    """Try a revision again that has failed. Raises ClusterError where none did."""
    async with connect(target) as cluster:
        rollout = (await _find_current(cluster, name))["status"].get("rollout") or {}
        if rollout.get("phase") != "Failed":
            raise ClusterError(f"no revision of {name} has failed: `forebay rollout {name}` tells how far it is")
        revision, attempt = rollout["revision"], rollout.get("attempt", 1) + 1
        # Left over, it would pass the steps without a look.
        await _patch(cluster, name, {"retry": {"revision": revision, "attempt": attempt}, "promote": None})
        console.print(f"revision {revision} is tried again: attempt {attempt}", highlight=False)


async def pause(target: Target, name: str, *, console: Console) -> None:
    """Hold the rollout, and those to come."""
    async with connect(target) as cluster:
        await find_deployment(cluster, name)
        await _patch(cluster, name, {"paused": True})
        console.print(f"rollouts of {name} are held: `forebay resume {name}` lets them go on", highlight=False)


async def resume(target: Target, name: str, *, console: Console) -> None:
    """Hold it no more; one that was aborted is tried again."""
    async with connect(target) as cluster:
        found = await find_deployment(cluster, name)
        if not found["spec"].get("rollout"):
            raise ClusterError(f"no rollout of {name} was paused or aborted")
        cleared: Json = {"paused": None}
        if found["spec"]["rollout"].get("abort"):
            # It begins anew, with all its steps.
            cleared |= {"abort": None, "promote": None}
        await _patch(cluster, name, cleared)
        console.print(f"rollouts of {name} go on", highlight=False)


async def roll_back(target: Target, name: str, to: str, *, console: Console) -> None:
    """Serve the content of another revision than the spec's; with `to` empty that of the one that served before. Raises
    ClusterError where there is none.
    """
    async with connect(target) as cluster:
        found = await _find_current(cluster, name)
        status, records = found["status"], await list_records(cluster, found)
        wanted = str(status.get("targetRevision", ""))
        record = choose_record(records, to, name) if to else find_last_served(records, status, name)
        if record.name == wanted:
            raise ClusterError(f"revision {record.title} is what is wanted: `forebay history {name}` lists the others")
        # What is rolled back already still asks for another.
        unwanted = str((status.get("rollback") or {}).get("from") or wanted)
        rollback = {"from": unwanted, "to": record.name} if record.name != unwanted else None
        again = {"abort": None} if found["spec"].get("rollout", {}).get("abort") == record.name else {}
        await _patch(cluster, name, {"rollback": rollback, **again})
        how = "as the spec says" if rollback is None else "with no steps, until the spec is changed"
        console.print(f"revision {record.title} takes over from {wanted} {how}", highlight=False)


async def _find_current(cluster: Cluster, name: str) -> Json:
    """The ModelDeployment once the operator has looked at its spec as it is now."""
    found = await find_deployment(cluster, name)
    for _ in range(int(_PATIENCE_S / _PAUSE_S)):
        if is_current(found):
            return found
        await asyncio.sleep(_PAUSE_S)
        found = await find_deployment(cluster, name)
    raise ClusterError(f"the operator hasn't looked at the spec of {name} yet: `forebay check` says whether one runs")


def _find_rollout(found: Json, name: str) -> Json:
    rollout: Json | None = found["status"].get("rollout")
    if not rollout:
        raise ClusterError(
            f"there is no rollout of {name} by steps under way: `forebay rollout {name}` tells who serves"
        )
    return rollout


async def _patch(cluster: Cluster, name: str, rollout: Json) -> None:
    path = MODEL_DEPLOYMENT.path(namespace=cluster.namespace, name=name)
    body = {"spec": {"rollout": rollout}}
    await cluster.client.write("PATCH", path, body, content_type=MERGE_PATCH, fieldManager=_MANAGER)
