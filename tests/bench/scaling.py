"""A step of load: until more instances are asked for, and the latency meanwhile, beside Kubernetes' autoscaler alone.

Run: `python -m tests.bench.scaling [--rounds 2] [--seconds 40] [--json FILE]`. Apiserver, controllers (the autoscaler
looks every 15 s, as by default), metrics API, gateway, operator and the instances' sidecars are real; the model takes
100 ms, two at once, and a new instance three seconds to start. Both follow the same metric with the same target in the
same cluster, one after the other: stock is what the operator leaves to the autoscaler, as behavior.scaleUp is written.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from tests.controller.site import History
from tests.scaling.site import NAMESPACE, Model, ScalingSite, Shape, serving

GOAL_S, GOAL_RATIO = 3.0, 0.25
_RATE, _CALM_S = 70, 5.0
_SCALING: dict[str, Any] = {"min": 1, "max": 6, "target": {"queue": 2}}
# What Kubernetes does where nothing is written.
_POLICIES = [
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
]
WAYS: dict[str, dict[str, Any]] = {
    "ours": _SCALING,
    "stock": _SCALING | {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 0, "policies": _POLICIES}}},
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One step of load. `raised_s` is until more instances were asked for, `most_s` until as many as were at last."""

    way: str
    raised_s: float
    most_s: float
    most: int
    p50_s: float
    p95_s: float
    answered: int
    failed: int


async def load(url: str, *, seconds: float) -> list[tuple[int, float]]:
    """Requests at a steady rate, whatever becomes of them: codes and times."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:

        async def ask() -> tuple[int, float]:
            began_s = time.monotonic()
            async with session.post(url, json={}) as answer:
                await answer.read()
                return answer.status, time.monotonic() - began_s

        began_s, asked = time.monotonic(), []
        for number in range(round(_RATE * seconds)):
            await asyncio.sleep(max(0.0, began_s + number / _RATE - time.monotonic()))
            asked.append(asyncio.create_task(ask()))
        return await asyncio.gather(*asked)


def measure(site: ScalingSite, way: str, number: int, *, seconds: float) -> Run:
    """One ModelDeployment's life, with a step of load in it."""
    name = f"{way}-{number}"
    workload = site.create(name, **WAYS[way])
    time.sleep(_CALM_S)
    changes: list[tuple[float, int]] = []
    Stopwatch(site, workload, changes)
    began_s = time.monotonic()
    answers = asyncio.run(load(f"{site.gateway.site.url}/{NAMESPACE}/{name}/v2/models/{name}/infer", seconds=seconds))
    site.cluster.drop(NAMESPACE, name)
    raised = [(at_s - began_s, count) for at_s, count in changes if count > 1] or [(float("inf"), 1)]
    most = max(count for _, count in raised)
    times = sorted(latency_s for code, latency_s in answers if code == 200)
    return Run(
        way=way, raised_s=raised[0][0], most_s=next(at_s for at_s, count in raised if count == most), most=most,
        p50_s=times[len(times) // 2], p95_s=times[int(len(times) * 0.95)],
        answered=len(times), failed=len(answers) - len(times),
    )  # fmt: skip


class Stopwatch(History):
    """When a Deployment was given another number."""

    def __init__(self, site: ScalingSite, workload: str, changes: list[tuple[float, int]]) -> None:
        self._workload, self._changes = workload, changes
        super().__init__(site.cluster, NAMESPACE)
        self.seen = Seen(self._note)

    def _note(self, item: dict[str, Any]) -> None:
        if item["metadata"]["name"] == self._workload:
            self._changes.append((time.monotonic(), item["spec"]["replicas"]))


class Seen(list[tuple[str, dict[str, Any]]]):
    """A list that tells of what is added."""

    def __init__(self, tell: Any) -> None:
        super().__init__()
        self._tell = tell

    def append(self, pair: tuple[str, dict[str, Any]]) -> None:
        self._tell(pair[1])
        super().append(pair)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs: list[Run] = []
    shape = Shape(slots=2, depth=2000, start_s=3, sync="15s")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), model=Model(service_s=0.1), shape=shape) as site,
    ):
        for number in range(options.rounds):
            # Who is first takes turns: the autoscaler's looks and the machine's moods are for both.
            for way in list(WAYS)[:: 1 if number % 2 else -1]:
                runs.append(measure(site, way, number, seconds=options.seconds))
                Console().print(runs[-1])
    report(runs)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in runs], indent=1))


def report(runs: list[Run]) -> None:
    table = Table("way", "raised after, s", "at its most after, s", "instances", "p50, s", "p95, s", "failed")
    middle = {
        way: {
            name: statistics.median(getattr(each, name) for each in runs if each.way == way)
            for name in ("raised_s", "most_s", "most", "p50_s", "p95_s", "failed")
        }
        for way in WAYS
    }
    for way, found in middle.items():
        table.add_row(way, *(f"{value:.3g}" for value in found.values()))
    console = Console()
    console.print(table)
    for name, words in (("raised_s", "time to more instances"), ("p95_s", "p95")):
        console.print(f"{words}: {middle['ours'][name] / middle['stock'][name]:.2f} x stock")
    console.print(f"goals: raised within {GOAL_S:g} s, and within {GOAL_RATIO:g} x stock")


if __name__ == "__main__":
    main()
