"""What a simulation came to, as a table and a line."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.table import Table

from forebay.simulation.run import Result

Json = dict[str, Any]
_ROWS = 20
_STEPS_S = (1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def choose_bounds(duration_s: float) -> list[float]:
    """The spans of the table: some twenty, of a whole number of seconds or minutes."""
    step_s = next((each for each in _STEPS_S if duration_s / each <= _ROWS), _STEPS_S[-1])
    return [step_s * number for number in range(math.ceil(duration_s / step_s) + 1)]


def find_quantile(values: Sequence[float], share: float) -> float:
    """The value that so many of the sorted values don't exceed; 0 of none."""
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)] if values else 0.0


def build_table(result: Result) -> Table:
    """A row for each span of time."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    waits = any(each.held for each in result.points)
    names = ("TIME", "REQUESTS/S", "INSTANCES", "READY", *["HELD"] * waits, "AT EACH", "P50", "P95", "P99", "REFUSED")
    for name in names:
        table.add_column(name, justify="left" if name == "TIME" else "right")
    for begin_s, end_s in pairwise(choose_bounds(result.duration_s)):
        points = [each for each in result.points if begin_s <= each.at_s < end_s]
        if not points:
            continue
        latencies, failed = result.latencies(begin_s, end_s), result.count_failed(begin_s, end_s)
        busiest = max(each.requests / max(1, each.ready) for each in points)
        table.add_row(
            _show_time(begin_s),
            f"{(len(latencies) + failed) / (end_s - begin_s):.3g}",
            _show_range([each.wanted for each in points]),
            _show_range([each.ready for each in points]),
            *[str(max(each.held for each in points) or "")] * waits,
            f"{busiest:.3g}",
            *(_show_s(find_quantile(latencies, share)) if latencies else "" for share in (0.5, 0.95, 0.99)),
            str(failed) if failed else "",
        )
    return table


def summarize(result: Result, *, gpus: int = 0, gpu_hour_price: float | None = None) -> str:
    """The whole, in a few lines."""
    latencies, failed = result.latencies(), result.count_failed()
    number = len(latencies) + failed
    hours = result.instance_s / 3600
    quantiles = ", ".join(
        f"p{int(share * 100)} {_show_s(find_quantile(latencies, share))}" for share in (0.5, 0.95, 0.99)
    )
    lines = [
        f"{number} requests, {failed} refused or too late ({failed / number:.2%}): {quantiles}"
        if number
        else "no requests",
        f"{hours:.3g} instance hours"
        + (f", {hours * gpus:.3g} GPU hours" if gpus else "")
        + _show_cost(hours * gpus, gpu_hour_price),
        f"{len(result.events)} changes of scale"
        + "".join(f"\n  {_show_time(each.at_s)} {each.before} → {each.after} {each.decider}" for each in result.events),
    ]
    return "\n".join(lines)


def _show_cost(gpu_hours: float, price: float | None) -> str:
    return "" if price is None else f", cost {gpu_hours * price:.2f}"


def _show_time(at_s: float) -> str:
    minutes, seconds = divmod(round(at_s), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _show_range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"


def _show_s(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"
