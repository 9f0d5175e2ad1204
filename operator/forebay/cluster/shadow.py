"""`forebay shadow`: what the gateway's pods have compared, asked of the pilot in each of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from forebay.cluster.deployments import find_deployment
from forebay.cluster.errors import ClusterError
from forebay.cluster.port_forward import PortForward
from forebay.cluster.predict import list_gateways
from forebay.cluster.report import build_grid
from forebay.cluster.session import Cluster, Target, connect
from forebay.plan.envoy_shadow import OUTCOMES
from forebay.plan.names import METRICS_PORT
from forebay.rollout.analysis.tally import find_percentile_ms
from forebay.status.pods import is_ready

Json = dict[str, Any]
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_EXAMPLES = 5


@dataclass
class Count:
    """What all pods have counted of one workload that gets copies. Times in ms, of the requests and of the copies."""

    outcomes: Counter[str] = field(default_factory=Counter)
    told_ms: Counter[float] = field(default_factory=Counter)
    copied_ms: Counter[float] = field(default_factory=Counter)
    examples: list[Json] = field(default_factory=list)

    def add(self, told: Json) -> None:
        """What one pod tells."""
        self.outcomes.update({name: int(told.get(name, 0)) for name in OUTCOMES})
        for times, name in ((self.told_ms, "toldMs"), (self.copied_ms, "copiedMs")):
            times.update({float(time_ms): int(count) for time_ms, count in told.get(name, {}).items()})
        self.examples += told.get("examples", [])

    @property
    def compared(self) -> int:
        """How many answers to copies say anything of who gave them."""
        return sum(self.outcomes[name] for name in ("agreed", "differed", "failed"))


async def show_shadow(target: Target, name: str, *, console: Console) -> None:
    """Ask all pods of the gateway, and print what they say together. Raises ClusterError where none tells."""
    async with connect(target) as cluster:
        deployment = await find_deployment(cluster, name)
        pods = [pod for pod in await list_gateways(cluster) if is_ready(pod)]
        if not pods:
            raise ClusterError("no pod of the gateway is ready: forebay check")
        route = f"{cluster.namespace}/{name}"
        counts = add_up([await _ask(cluster, pod, route) for pod in pods])
    if not counts:
        console.print(describe_nothing(deployment), highlight=False, soft_wrap=True)
        return
    console.print(build_table(counts))
    for workload, count in counts.items():
        for example in count.examples[-_EXAMPLES:]:
            console.print(f"{workload}: {escape(describe_example(example))}", highlight=False, soft_wrap=True)


async def _ask(cluster: Cluster, pod: Json, route: str) -> Mapping[str, Json]:
    """What one pod has compared of a deployment, by workload."""
    forward = PortForward(
        cluster.client, namespace=pod["metadata"]["namespace"], pod=pod["metadata"]["name"], port=METRICS_PORT
    )
    await forward.check()
    try:
        async with (
            forward.listen() as address,
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(f"http://{address}/differences", params={"deployment": route}) as answer,
        ):
            answer.raise_for_status()
            found: Mapping[str, Json] = (await answer.json())["comparisons"][route]
            return found
    except (aiohttp.ClientError, TimeoutError) as error:
        why = forward.trouble or str(error) or type(error).__name__
        raise ClusterError(f"{pod['metadata']['name']} doesn't tell what it has compared: {why}") from error


def add_up(answers: Sequence[Mapping[str, Json]]) -> dict[str, Count]:
    """Of all pods together, by workload."""
    counts: dict[str, Count] = {}
    for answer in answers:
        for workload, told in answer.items():
            counts.setdefault(workload, Count()).add(told)
    return counts


def describe_nothing(deployment: Json) -> str:
    """Why there is nothing to tell."""
    name, spec = deployment["metadata"]["name"], deployment["spec"]
    steps = ((spec.get("rollout") or {}).get("canary") or {}).get("steps") or ()
    if spec.get("shadow") or any("shadow" in each for each in steps):
        return f"nothing of {name} is compared yet"
    return f"nobody gets copies of the requests to {name}: write spec.shadow, or a step with shadow in rollout.canary"


def build_table(counts: Mapping[str, Count]) -> Table:
    """A line for each workload."""
    table = build_grid("SHADOW", "COMPARED", "AGREE", "FAILED", "LOST", "SKIPPED", "P50", "P99")
    for workload, count in counts.items():
        agree = f"{100 * count.outcomes['agreed'] / count.compared:.4g} %" if count.compared else ""
        others = (f"{count.outcomes[name]}" for name in ("failed", "lost", "skipped"))
        table.add_row(workload, f"{count.compared}", agree, *others, *(_show_times(count, each) for each in (50, 99)))
    return table


def _show_times(count: Count, percentile: float) -> str:
    """That of the copies, and that of the requests."""
    copied, told = (find_percentile_ms(times, percentile) for times in (count.copied_ms, count.told_ms))
    return f"{copied:g} ms (client: {told:g})"


def describe_example(example: Json) -> str:
    """Where two answers to one request differ."""
    request = f" in the answer to request {example['request']}" if example.get("request") else ""
    return f"{example['where']}{request}: {example['told']} here, {example['shadow']} there"
