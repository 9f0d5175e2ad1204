"""`forebay rollout`, once or until it is over: a live view in a terminal, a line for each change in a log."""

import asyncio
import re
import time
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live

from forebay.cluster.deployments import find_deployment, list_pods, list_workloads
from forebay.cluster.errors import ClusterError
from forebay.cluster.rollout_view import Seen, build_line, build_view, find_end, is_over
from forebay.cluster.session import Cluster, Target, connect
from forebay.cluster.wording import describe_ready

_PAUSE_S = 1.0


async def show_rollout(target: Target, name: str, *, console: Console) -> bool:
    """Print how far the rollout is; whether it is over."""
    async with connect(target) as cluster:
        seen = await _look(cluster, name)
    console.print(build_view(seen), markup=False, highlight=False)
    return is_over(seen.deployment)


async def watch_rollout(target: Target, name: str, *, timeout_s: float, console: Console) -> bool:
    """Show the rollout until it is over, or won't be by itself; whether it is over. Raises ClusterError where neither
    is so in time.
    """
    deadline = time.monotonic() + timeout_s
    last = ""
    async with connect(target) as cluster:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible", transient=False) as live:
            while True:
                seen = await _look(cluster, name)
                if console.is_terminal:
                    live.update(build_view(seen), refresh=True)
                elif _without_times(line := build_line(seen)) != last:
                    last = _without_times(line)
                    console.file.write(f"{seen.now:%H:%M:%S} {line}\n")
                    console.file.flush()
                end = find_end(seen.deployment)
                if end or is_over(seen.deployment):
                    break
                if time.monotonic() > deadline:
                    said = describe_ready(seen.deployment)["message"]
                    raise ClusterError(f"the rollout of {name} isn't over after {timeout_s:g} s: {said}")
                await asyncio.sleep(_PAUSE_S)
    over = f"is over: {seen.status.get('activeRevision')} serves"
    console.print(f"the rollout of {name} {end or over}", highlight=False)
    return not end


async def _look(cluster: Cluster, name: str) -> Seen:
    return Seen(
        deployment=await find_deployment(cluster, name),
        workloads=await list_workloads(cluster, name),
        pods=await list_pods(cluster, name),
        now=datetime.now(UTC),
    )


def _without_times(line: str) -> str:
    return re.sub(r"\d+[smhd]\b", "", line)
