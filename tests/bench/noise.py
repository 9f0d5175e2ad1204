"""A steady load with noise: how often the number of instances changes, beside Kubernetes' autoscaler alone.

Run: `python -m tests.bench.noise [--minutes 10] [--json FILE]`. Real parts as in tests.bench.scaling. Both ways get the
same noise at the same time: arrivals are independent of each other (Poisson), and their mean wanders by a third up and
down. In the middle the operator ends, and another one starts. What is counted begins after two minutes.
"""

import argparse
import asyncio
import itertools
import json
import random
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from tests.bench.scaling import WAYS, Stopwatch
from tests.scaling.site import NAMESPACE, Model, ScalingSite, Shape, serving

GOAL = 2
_RATE, _WANDER, _STEP_S = 30.0, 0.33, 20.0
_WARM_UP_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """One way's ten minutes: changes of the number after the warm-up, and the numbers that there were."""

    way: str
    changes: int
    numbers: list[int]
    after_restart: int
    answered: int
    failed: int


async def load(urls: list[str], *, seconds: float) -> list[list[int]]:
    """The same arrivals at each; codes."""
    connector, dice = aiohttp.TCPConnector(limit=0), random.Random(7)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:

        async def ask(url: str) -> int:
            async with session.post(url, json={}) as answer:
                await answer.read()
                return answer.status

        asked: list[list[asyncio.Task[int]]] = [[] for _ in urls]
        began_s, at_s = time.monotonic(), 0.0
        rates = [_RATE * dice.uniform(1 - _WANDER, 1 + _WANDER) for _ in range(int(seconds / _STEP_S) + 1)]
        while at_s < seconds:
            await asyncio.sleep(max(0.0, began_s + at_s - time.monotonic()))
            for tasks, url in zip(asked, urls, strict=True):
                tasks.append(asyncio.create_task(ask(url)))
            at_s += dice.expovariate(rates[int(at_s / _STEP_S)])
        return [list(await asyncio.gather(*tasks)) for tasks in asked]


def measure(site: ScalingSite, *, seconds: float) -> list[Run]:
    """Both ways at once."""
    changes: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
    urls = []
    for way, scaling in WAYS.items():
        workload = site.create(way, **scaling)
        Stopwatch(site, workload, changes[way])
        urls.append(f"{site.gateway.site.url}/{NAMESPACE}/{way}/v2/models/{way}/infer")
    began_s = time.monotonic()
    restart = threading.Timer(seconds / 2, lambda: replace_operator(site))
    restart.start()
    try:
        codes = asyncio.run(load(urls, seconds=seconds))
    finally:
        restart.cancel()
        restart.join()
    runs = []
    for way, found in zip(WAYS, codes, strict=True):
        counted = [(at_s - began_s, number) for at_s, number in follow(changes[way]) if at_s - began_s > _WARM_UP_S]
        run = Run(
            way=way, changes=len(counted), numbers=[number for _, number in counted],
            after_restart=sum(seconds / 2 < at_s < seconds / 2 + 60 for at_s, _ in counted),
            answered=found.count(200), failed=len(found) - found.count(200),
        )  # fmt: skip
        runs.append(run)
    return runs


def follow(seen: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """When the number became another one."""
    return [later for earlier, later in itertools.pairwise(seen) if earlier[1] != later[1]]


def replace_operator(site: ScalingSite) -> None:
    """End it, and start another."""
    site.operator.stop()
    site.operator = site.start_operator("another").__enter__().wait_leading()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shape = Shape(slots=2, depth=2000, start_s=3, sync="15s")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), model=Model(service_s=0.1), shape=shape) as site,
    ):
        runs = measure(site, seconds=options.minutes * 60)
        site.operator.stop()
    table = Table("way", "changes", "to", "within a minute of the restart", "answered", "failed")
    for each in runs:
        numbers = " ".join(map(str, each.numbers))
        table.add_row(each.way, *map(str, (each.changes, numbers, each.after_restart, each.answered, each.failed)))
    Console().print(table)
    Console().print(f"goal: at most {GOAL} changes in ten minutes")
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in runs], indent=1))


if __name__ == "__main__":
    main()
