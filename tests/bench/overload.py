"""Goodput at five times the capacity, through gateway and queue and straight to Triton, side by side.

Run: `python -m tests.bench.overload [--seconds 20] [--rounds 2] [--json FILE]`. One real Triton, two slots of 20 ms,
a deadline of 60 ms, the depth left to be derived. Each run has a `forebay serve` of its own; its capacity is what
Triton alone answers to twice as many busy connections as it has slots. A run whose schedule was not kept is marked and
left out of the result.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from tests.bench.client import run_load
from tests.bench.load import FAILED, GAVE_UP, OK, REFUSED, TIMED_OUT, Load, Summary, measure_rate, summarize
from tests.local.serving_session import ServingSession, serving

SLOTS = 2
DEADLINE_S = 0.060
OVERLOAD = 5
PATIENCE_S = {"patient": 0.200, "impatient": DEADLINE_S}
WAYS = ("gateway and queue", "straight to Triton")
GOAL_SHARE = 0.9
GOAL_REFUSAL_MS = 10
_WARM_UP_S = 3.0
# Long enough for measurements of an idle instance to spoil those of a busy one.
_IDLE_S = 5.0
_CONNECTIONS = 100
_PATH = "/v2/models/fixed/infer"
_BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]})
_REPOSITORY = Path(__file__).parent / "repositories/fixed"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to load. A `depth` of None is derived; `cold` is an instance whose queue has measured nothing yet."""

    seconds: float = 20
    rounds: int = 2
    depth: int | None = None
    cold: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    """One load on one fresh Triton."""

    client: str
    way: str
    capacity_per_s: float
    depth: int
    summary: Summary

    @property
    def share(self) -> float:
        """Goodput over capacity."""
        return self.summary.good_per_s / self.capacity_per_s


def build_manifest(*, depth: int | None) -> str:
    """The ModelDeployment, as JSON, which is YAML."""
    queue = {"timeout": f"{DEADLINE_S * 1000:.0f}ms", **({} if depth is None else {"depth": depth})}
    spec = {
        "model": {"uri": f"file:{_REPOSITORY}"},
        "predictor": {"triton": {}, "concurrency": SLOTS},
        "queue": queue,
    }
    manifest = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "fixed"}}
    return json.dumps({**manifest, "spec": spec})


def measure(client: str, way: str, options: Options, *, seed: int) -> Run:
    """Start a serving, measure its capacity, and overload it."""
    manifest = build_manifest(depth=options.depth)
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as folder, serving(manifest, Path(folder)) as session:
        gateway, triton = _find_places(session)
        place = {WAYS[0]: gateway, WAYS[1]: triton}[way]
        capacity_per_s = _saturate(triton, connections=2 * SLOTS)
        if not options.cold:
            _saturate(gateway, connections=SLOTS)
        time.sleep(_IDLE_S)
        load = Load(
            **place,
            body=_BODY,
            seconds=options.seconds,
            connections=_CONNECTIONS,
            rate_per_s=OVERLOAD * capacity_per_s,
            patience_s=PATIENCE_S[client],
            seed=seed,
        )
        summary = summarize(run_load(load), load)
        depth = int(re.findall(r"^forebay_queue_depth.* ([\d.]+)$", session.metrics(), re.M)[0].partition(".")[0])
        return Run(client=client, way=way, capacity_per_s=capacity_per_s, depth=depth, summary=summary)


def _find_places(session: ServingSession) -> tuple[dict[str, Any], dict[str, Any]]:
    """Where the gateway takes requests, and Triton itself."""
    url = urlsplit(session.url)
    config = json.loads((session.folder / "envoy/predictor-0.queue.json").read_text())
    cluster = next(each for each in config["static_resources"]["clusters"] if each["name"] == "model_http")
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    address = endpoint["address"]["socket_address"]
    gateway = {"host": url.hostname, "port": url.port, "path": url.path + _PATH}
    return gateway, {"host": address["address"], "port": address["port_value"], "path": _PATH}


def _saturate(place: dict[str, Any], *, connections: int) -> float:
    """Answers per second to connections that are never idle, once all of them are at work."""
    load = Load(**place, body=_BODY, seconds=_WARM_UP_S, connections=connections)
    return measure_rate(run_load(load), from_s=0.5, to_s=_WARM_UP_S)


def measure_all(options: Options, console: Console) -> Iterator[Run]:
    """Every kind of client on every way, round by round."""
    for number in range(options.rounds):
        for client in PATIENCE_S:
            for way in WAYS:
                with console.status(f"round {number + 1} of {options.rounds}: {client} client, {way}"):
                    yield measure(client, way, options, seed=number)


def build_table(runs: list[Run]) -> Table:
    """All runs, one a line."""
    table = Table(title=f"{SLOTS} slots, deadline {DEADLINE_S * 1000:.0f} ms, offered {OVERLOAD} times the capacity")
    for name in (
        "client", "way", "capacity/s", "offered/s", "goodput/s", "of capacity", "200", "429", "504", "gave up",
        "failed", "200 p50/p99 ms", "429 p50/p99 ms", "depth", "lag p99 ms",
    ):  # fmt: skip
        table.add_column(name, justify="left" if name in ("client", "way") else "right")
    for run in runs:
        summary = run.summary
        counts = (str(summary.counts.get(status, 0)) for status in (OK, REFUSED, TIMED_OUT, GAVE_UP, FAILED))
        table.add_row(
            f"{run.client}, {PATIENCE_S[run.client] * 1000:.0f} ms", run.way, f"{run.capacity_per_s:.1f}",
            f"{summary.offered_per_s:.0f}", f"{summary.good_per_s:.1f}", f"{run.share:.0%}", *counts,
            f"{summary.ok_p50_ms:.1f}/{summary.ok_p99_ms:.1f}",
            f"{summary.refusal_p50_ms:.1f}/{summary.refusal_p99_ms:.1f}", str(run.depth),
            f"{summary.lag_p99_ms:.2f}{'' if summary.valid else ' LATE: not counted'}",
        )  # fmt: skip
    return table


def describe_run(run: Run) -> dict[str, Any]:
    """A run as JSON: what isn't a number is null."""
    summary = {name: None if value != value else value for name, value in asdict(run.summary).items()}  # noqa: PLR0124
    return {**asdict(run), "share": run.share, "valid": run.summary.valid, "summary": summary}


def describe_goals(runs: list[Run]) -> Iterator[str]:
    """The goals, and what the runs that count came to (medians)."""
    for client in PATIENCE_S:
        counted = [run for run in runs if (run.client, run.way) == (client, WAYS[0]) and run.summary.valid]
        if not counted:
            yield f"{client} client: no run counts, the generator fell behind its schedule in all of them"
            continue
        share = statistics.median(run.share for run in counted)
        refusal_ms = statistics.median(run.summary.refusal_p99_ms for run in counted)
        yield (
            f"{client} client: goodput {share:.0%} of capacity (goal {GOAL_SHARE:.0%}: "
            f"{'met' if share >= GOAL_SHARE else 'MISSED'}), refusals p99 {refusal_ms:.1f} ms "
            f"(goal {GOAL_REFUSAL_MS} ms: {'met' if refusal_ms <= GOAL_REFUSAL_MS else 'MISSED'})"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="length of each run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--depth", type=int, help="fix the depth of the queue, which is derived otherwise")
    parser.add_argument("--cold", action="store_true", help="load a queue that has measured nothing yet")
    parser.add_argument("--json", type=Path, help="write the runs to this file")
    parsed = parser.parse_args()
    options = Options(seconds=parsed.seconds, rounds=parsed.rounds, depth=parsed.depth, cold=parsed.cold)
    console = Console(width=200)
    runs = list(measure_all(options, console))
    console.print(build_table(runs))
    for line in describe_goals(runs):
        console.print(line, highlight=False)
    if parsed.json:
        parsed.json.write_text(json.dumps([describe_run(run) for run in runs], indent=1))


if __name__ == "__main__":
    main()
