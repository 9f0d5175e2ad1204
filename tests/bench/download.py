"""How quickly a model's files come from S3, side by side with s5cmd and KServe's storage package.

Run: `python -m tests.bench.download [--size-gib 4] [--files 10000] [--rounds 5] [--folder /dev/shm] [--json FILE]`. One
large object, and many of 64 KiB, from a real server on this machine; those who download take turns within a round,
each round in another order. CPU is user and system time of the process with its children, memory the most that
they had at once (shared pages counted once). In the end each is killed when half of the large object was sent, and
started again: what the server sends then is the price of a kill.

Forebay compares every object with the checksum that it was uploaded with (here CRC32, of the large one by parts). s5cmd
compares none, KServe's boto3 only that of small objects, which it doesn't fetch in ranges.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.download_peers import FOREBAY, KSERVE, S5CMD, build_command, ensure_peers
from tests.bench.download_run import Cost, measure, measure_kill
from tests.bench.download_server import LARGE, MIB, SMALL, Amounts, serving

WAYS = (FOREBAY, S5CMD, KSERVE)
Costs = dict[str, dict[str, list[Cost]]]


def run_rounds(rounds: int, environment: dict[str, str], folder: Path, amounts: Amounts) -> Costs:
    """Costs by what is downloaded and by who does it, a list of rounds each."""
    costs: Costs = {LARGE: defaultdict(list), SMALL: defaultdict(list)}
    sizes = {LARGE: amounts.large_bytes, SMALL: amounts.small_count * 64 * 1024}
    peers = ensure_peers()
    for number in range(rounds):
        for prefix, by_way in costs.items():
            for who in (*WAYS[number % 3 :], *WAYS[: number % 3]):
                to = folder / "to"
                to.mkdir()
                command = build_command(who, prefix, to / "m" if who == FOREBAY else to, peers)
                by_way[who].append(measure(command, environment))
                got = sum(path.stat().st_size for path in to.rglob("*") if path.is_file())
                if not sizes[prefix] <= got < sizes[prefix] + 2 * MIB:
                    raise SystemExit(f"{who} brought {got} bytes of {sizes[prefix]}")
                shutil.rmtree(to)
    return costs


def measure_share(who: str, environment: dict[str, str], folder: Path, amounts: Amounts) -> float:
    """What is sent again after a kill in the middle of the large object, as a share of its size."""

    def build(to: Path) -> list[str]:
        return build_command(who, LARGE, to, ensure_peers())

    return measure_kill(build, environment, folder, amounts.large_bytes // 2) / amounts.large_bytes


def show(costs: Costs, kills: dict[str, float], console: Console) -> None:
    """A table for each case: seconds, the ratio to Forebay in the same round, CPU and memory."""
    for prefix, by_way in costs.items():
        table = Table("", "seconds", "times as long as forebay: median (least, most)", "CPU s", "memory", title=prefix)
        for who, rounds in by_way.items():
            ratios = [each.wall_s / ours.wall_s for each, ours in zip(rounds, by_way[FOREBAY], strict=True)]
            table.add_row(
                who,
                f"{statistics.median(each.wall_s for each in rounds):.2f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})",
                f"{statistics.median(each.cpu_s for each in rounds):.2f}",
                f"{max(each.memory_bytes for each in rounds) / MIB:.0f} MiB",
            )
        console.print(table)
    for who, share in kills.items():
        console.print(f"{who}, killed at 50 %: {share:.1%} of a full download is sent when it is started again")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description="Downloads from S3, side by side with s5cmd and KServe.")
    parser.add_argument("--size-gib", type=float, default=4, help="size of the large object")
    parser.add_argument("--files", type=int, default=10_000, help="how many objects of 64 KiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where all files lie")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    options = parser.parse_args(arguments)
    amounts = Amounts(int(options.size_gib * 1024) // 8 * 8 * MIB, options.files)
    free = shutil.disk_usage(options.folder).free
    if free < 3 * amounts.large_bytes:
        parser.error(f"{options.folder} has {free // MIB} MiB free: choose a smaller --size-gib or another --folder")
    with tempfile.TemporaryDirectory(dir=options.folder) as text:
        folder = Path(text)
        with serving(folder, amounts) as environment:
            costs = run_rounds(options.rounds, environment, folder, amounts)
            shares = {who: measure_share(who, environment, folder, amounts) for who in WAYS}
    show(costs, shares, Console())
    if options.json:
        rounds = {prefix: {who: [*map(asdict, each)] for who, each in ways.items()} for prefix, ways in costs.items()}
        options.json.write_text(json.dumps({"rounds": rounds, "kills": shares, "cpus": os.cpu_count()}, indent=1))


if __name__ == "__main__":
    main()
