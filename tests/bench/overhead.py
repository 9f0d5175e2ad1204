"""What the queue costs a request, and what the gateway adds, measured side by side in rounds.

Run: `python -m tests.bench.overhead [--seconds 5] [--rounds 6] [--json FILE]`. Requests and answers of 1 KB, Poisson
arrivals of a fixed rate on kept connections. What is asked in the end is an Envoy that answers by itself: Triton's
Python backend takes longer, and varies by more, than what is measured here. The ways take turns within a round, each
round in another order, and a round whose direct p99 exceeds 3 ms is thrown away. CPU is user and system time of the
proxies alone, from /proc.

`one stage` is the queue without its inner hop: the same config, but with the limits on the cluster of the model itself.
It is what sharing one queue between REST and gRPC is compared with.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.client import run_load
from tests.bench.load import OK, Load, percentile
from tests.bench.proxies import BOTH, DIRECT, ONE_STAGE, QUEUE, SIZE_BYTES, Way, running_ways

RATE_PER_S = 400
MAX_DIRECT_P99_MS = 3.0
_CONNECTIONS = 16
_WARM_UP_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One way in one round. CPU is that of the proxies, per request."""

    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(kw_only=True)
class Rounds:
    """The rounds that count, the cost of each way, and how many were thrown away."""

    kept: list[dict[str, Cost]] = field(default_factory=list)
    thrown_away: int = 0

    def add(self, costs: dict[str, Cost]) -> None:
        """Keep a round, unless the machine was busy with something else."""
        if costs[DIRECT].p99_ms > MAX_DIRECT_P99_MS:
            self.thrown_away += 1
        else:
            self.kept.append(costs)

    def median(self, way: str, name: str) -> float:
        """Of one figure of one way."""
        return statistics.median(getattr(costs[way], name) for costs in self.kept)

    def ratio(self, way: str, name: str, *, to: str) -> float:
        """Median of one figure over another way's, round by round."""
        return statistics.median(getattr(costs[way], name) / getattr(costs[to], name) for costs in self.kept)

    def difference(self, way: str, name: str, *, to: str) -> float:
        """Median of one figure less another way's, round by round."""
        return statistics.median(getattr(costs[way], name) - getattr(costs[to], name) for costs in self.kept)


def measure(way: Way, *, seconds: float, seed: int) -> Cost:
    """One way's latency and CPU."""
    load = Load(
        host=way.address.host,
        port=way.address.port,
        path=way.path,
        body="x" * SIZE_BYTES,
        seconds=seconds,
        connections=_CONNECTIONS,
        rate_per_s=RATE_PER_S,
        seed=seed,
    )
    before_s = read_cpu_s(way.pids)
    samples = run_load(load)
    used_s = read_cpu_s(way.pids) - before_s
    failed = [each.status for each in samples if each.status != OK]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(samples)} requests failed, the first with status {failed[0]}")
    latencies_ms = [each.latency_s * 1000 for each in samples]
    return Cost(
        p50_ms=percentile(latencies_ms, 50),
        p99_ms=percentile(latencies_ms, 99),
        cpu_us=used_s / len(samples) * 1e6,
    )


def read_cpu_s(pids: Sequence[int]) -> float:
    """User and system time of processes, in seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_rounds(*, seconds: float, rounds: int, console: Console) -> Rounds:
    """All ways, round by round."""
    found = Rounds()
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as folder, running_ways(Path(folder)) as ways:
        for way in ways.values():
            measure(way, seconds=_WARM_UP_S, seed=0)
        turns = list(ways)
        for number in range(rounds):
            with console.status(f"round {number + 1} of {rounds}"):
                found.add({name: measure(ways[name], seconds=seconds, seed=number) for name in turns})
            turns = [*turns[1:], turns[0]]
    return found


def build_table(rounds: Rounds) -> Table:
    """Medians of the rounds that count."""
    title = (
        f"{SIZE_BYTES} bytes, {RATE_PER_S}/s, medians of {len(rounds.kept)} rounds, {rounds.thrown_away} thrown away"
    )
    table = Table(title=title)
    table.add_column("way")
    for name in ("p50 ms", "over direct", "ratio", "p99 ms", "over direct", "ratio", "proxies' CPU us/request"):
        table.add_column(name, justify="right")
    for way in (DIRECT, ONE_STAGE, QUEUE, BOTH):
        latency = [
            text
            for name in ("p50_ms", "p99_ms")
            for text in (
                f"{rounds.median(way, name):.2f}",
                f"{rounds.difference(way, name, to=DIRECT):+.2f}",
                f"{rounds.ratio(way, name, to=DIRECT):.2f}",
            )
        ]
        table.add_row(way, *latency, f"{rounds.median(way, 'cpu_us'):.0f}")
    return table


def describe_second_stage(rounds: Rounds) -> str:
    """What the inner hop costs."""
    p50_ms, p99_ms = (rounds.difference(QUEUE, name, to=ONE_STAGE) for name in ("p50_ms", "p99_ms"))
    cpu_us, ratio = rounds.difference(QUEUE, "cpu_us", to=ONE_STAGE), rounds.ratio(QUEUE, "cpu_us", to=ONE_STAGE)
    return (
        f"One queue for REST and gRPC costs {p50_ms:+.2f} ms at p50, {p99_ms:+.2f} ms at p99 and {cpu_us:+.0f} us CPU "
        f"({ratio:.2f} times) a request over a queue of one stage."
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="length of each way's turn in a round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", type=Path, help="write the rounds to this file")
    options = parser.parse_args()
    console = Console(width=160)
    rounds = measure_rounds(seconds=options.seconds, rounds=options.rounds, console=console)
    if options.json:
        options.json.write_text(json.dumps(asdict(rounds), indent=1))
    if not rounds.kept:
        raise SystemExit("no round counts: the direct way's p99 exceeded 3 ms in all of them. Is the machine busy?")
    console.print(build_table(rounds))
    console.print(describe_second_stage(rounds), highlight=False)


if __name__ == "__main__":
    main()
