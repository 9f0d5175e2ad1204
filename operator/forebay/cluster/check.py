"""`forebay check` without a script: what is missing in a cluster, each in a line with what to do."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aiohttp
from rich.console import Console
from rich.markup import escape

from forebay.cluster.findings import Finding, State
from forebay.cluster.kubernetes_checks import (
    check_metrics,
    check_namespace,
    check_network,
    check_nodes,
    check_rights,
    check_version,
)
from forebay.cluster.own_checks import check_crds, check_gateway, check_leader, check_operator
from forebay.cluster.session import Cluster, Target, connect
from forebay.kube.client import ApiError

CHECKS: tuple[Callable[[Cluster], Awaitable[list[Finding]]], ...] = (
    check_version,
    check_crds,
    check_operator,
    check_leader,
    check_gateway,
    check_nodes,
    check_metrics,
    check_namespace,
    check_rights,
    check_network,
)
_MARKS = {
    State.OK: "[green]✓[/]",
    State.MISSING: "[red]✗[/]",
    State.NOTE: "[yellow]![/]",
    State.UNKNOWN: "[dim]?[/]",
}


async def check_cluster(target: Target, *, console: Console) -> bool:
    """Print what there is and what is missing; True where nothing is that Forebay needs."""
    missing = 0
    async with connect(target) as cluster:
        for check in CHECKS:
            with console.status(check.__name__.replace("check_", "looking at the ")):
                findings = await _run(check, cluster)
            for finding in findings:
                missing += finding.state is State.MISSING
                advice = f"\n  {escape(finding.advice)}" if finding.advice else ""
                line = f"{_MARKS[finding.state]} {escape(finding.what)}{advice}"
                console.print(line, highlight=False, soft_wrap=True)
        where = f"context {cluster.context}, namespace {cluster.namespace}"
    if missing:
        things = "1 thing is missing" if missing == 1 else f"{missing} things are missing"
        console.print(f"[red]{things}[/] ({escape(where)})", highlight=False)
    else:
        console.print(f"nothing is missing ({escape(where)})", highlight=False)
    return not missing


async def _run(check: Callable[[Cluster], Awaitable[list[Finding]]], cluster: Cluster) -> list[Finding]:
    """What one may not look at is unknown, and doesn't hide the rest."""
    try:
        return await check(cluster)
    except ApiError as error:
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise
        what = check.__name__.removeprefix("check_").replace("_", " ")
        return [Finding(State.UNKNOWN, f"{what}: {error}")]
    except aiohttp.ClientError as error:
        return [Finding(State.UNKNOWN, f"{check.__name__.removeprefix('check_')}: {error}")]
