"""`forebay status`: what there is, as a table, and one ModelDeployment in full."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from forebay.cluster.deployments import find_deployment, is_current, list_deployments, list_pods
from forebay.cluster.report import Seen, build_report, build_table
from forebay.cluster.session import Cluster, Target, connect
from forebay.kube.client import ApiError
from forebay.kube.resources import EVENT
from forebay.status.pods import find_condition

Json = dict[str, Any]
# What is shown, and whether all of it is ready.
View = tuple[RenderableType, bool]

_PAUSE_S = 1.0


async def show_all(target: Target, *, everywhere: bool, watch: bool, console: Console) -> bool:
    """Print the table; whether all are ready."""

    async def look(cluster: Cluster) -> View:
        found = await list_deployments(cluster, everywhere=everywhere)
        if not found:
            where = "in any namespace" if everywhere else f"in namespace {cluster.namespace}"
            return f"no ModelDeployment {where}: kubectl apply -f FILE.yaml", True
        return build_table(found, everywhere=everywhere, now=datetime.now(UTC)), all(map(is_ready, found))

    return await show(target, look, watch=watch, console=console)


async def show_one(target: Target, name: str, *, watch: bool, console: Console) -> bool:
    """Print all about a ModelDeployment; whether it is ready."""

    async def look(cluster: Cluster) -> View:
        deployment = await find_deployment(cluster, name)
        pods = await list_pods(cluster, name)
        seen = Seen(deployment=deployment, pods=pods, events=await _list_events(cluster, deployment))
        return build_report(seen, flags=target.flags, now=datetime.now(UTC)), is_ready(deployment)

    return await show(target, look, watch=watch, console=console)


def is_ready(deployment: Json) -> bool:
    """Whether it is Ready, as its spec is now."""
    return is_current(deployment) and find_condition(deployment, "Ready").get("status") == "True"


async def show(target: Target, look: Callable[[Cluster], Awaitable[View]], *, watch: bool, console: Console) -> bool:
    """Print what is seen, or go on doing so; whether all of it is ready."""
    async with connect(target) as cluster:
        view, ready = await look(cluster)
        if not watch:
            console.print(view, markup=False, highlight=False)
            return ready
        if not console.is_terminal:
            await _print_changes(cluster, look, console)
        with Live(view, console=console, auto_refresh=False, vertical_overflow="visible") as live:
            while True:
                await asyncio.sleep(_PAUSE_S)
                view, ready = await look(cluster)
                live.update(view, refresh=True)


async def _print_changes(cluster: Cluster, look: Callable[[Cluster], Awaitable[View]], console: Console) -> None:
    """For a pipe: again whenever there is something new, the ages aside."""
    last = ""
    while True:
        with console.capture() as captured:
            console.print((await look(cluster))[0], markup=False, highlight=False)
        text = captured.get()
        if _without_ages(text) != last:
            last = _without_ages(text)
            console.file.write(text + "\n")
            console.file.flush()
        await asyncio.sleep(_PAUSE_S)


def _without_ages(text: str) -> str:
    return re.sub(r"\d+[smhd]\b", "", re.sub(r" +", " ", text))


async def _list_events(cluster: Cluster, deployment: Json) -> list[Json]:
    selector = f"involvedObject.uid={deployment['metadata']['uid']}"
    try:
        found = await cluster.client.read(EVENT.path(namespace=cluster.namespace), fieldSelector=selector)
    except ApiError:
        return []
    items: list[Json] = found["items"]
    return items
