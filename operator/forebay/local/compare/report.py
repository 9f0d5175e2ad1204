"""What a comparison came to: tables for people, a document for programs."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from forebay.local.compare.comparison import Comparison
from forebay.local.compare.judge import Row, find_worst, share_equal, summarize

Json = dict[str, Any]
_WORST_SHOWN = 5
_SHARES_PCT = (50, 90, 99)


def build_tables(comparison: Comparison) -> Iterator[str | Table]:
    """Lines and tables: how far both agree, by output; the inputs that differ most; how long both take."""
    rows = comparison.rows
    equal = sum(row.equal for row in rows)
    yield f"equal answers to {equal} of {len(rows)} inputs ({show_share(share_equal(rows))})"
    for reference, count, first in _count_refusals(comparison):
        yield f"{reference} refused {count} of them: {first}"
    outputs = Table("OUTPUT", "EQUAL", "LARGEST DIFFERENCE", "MEAN DIFFERENCE", "", box=None, pad_edge=False)
    for name, each in summarize(rows).items():
        numbers = (_show(each.largest), _show(each.mean))
        outputs.add_row(name, show_share(each.agreement), *numbers, "by the highest class" if each.by_class else "")
    yield outputs
    latencies = Table("LATENCY", *(f"P{pct}" for pct in _SHARES_PCT), box=None, pad_edge=False)
    for reference, taken in zip(comparison.references, comparison.latencies_s, strict=True):
        latencies.add_row(reference, *(f"{value:.3g} ms" for value in _list_quantiles_ms(taken).values()))
    yield latencies
    if worst := find_worst(rows, _WORST_SHOWN):
        table = Table("DIFFER MOST", "OUTPUT", *comparison.references, "DIFFERENCE", box=None, pad_edge=False)
        for row in worst:
            for cells in _list_cells(row):
                table.add_row(*cells)
        yield table


def build_document(comparison: Comparison) -> Json:
    """The same as JSON. What has no number, such as the difference of texts, is null."""
    rows = comparison.rows
    refused = {reference: count for reference, count, _ in _count_refusals(comparison)}
    return {
        "inputs": len(rows),
        "equal": sum(row.equal for row in rows),
        "agreement": share_equal(rows),
        "outputs": {
            name: {
                "agreement": each.agreement,
                "largestDifference": _finite(each.largest),
                "meanDifference": _finite(each.mean),
            }
            for name, each in summarize(rows).items()
        },
        "refused": {reference: refused.get(reference, 0) for reference in comparison.references},
        "latencyMs": {
            reference: _list_quantiles_ms(taken)
            for reference, taken in zip(comparison.references, comparison.latencies_s, strict=True)
        },
        "differMost": [_describe(row, comparison.references) for row in find_worst(rows, _WORST_SHOWN)],
    }


def show_share(share: float) -> str:
    """A share as a percentage: 100 % is all of them, not nearly all."""
    return f"{math.floor(share * 1000) / 10:g} %"


def _count_refusals(comparison: Comparison) -> Iterator[tuple[str, int, str]]:
    for side, reference in enumerate(comparison.references):
        refusals = [f"{row.name}: {row.refusals[side]}" for row in comparison.rows if row.refusals[side]]
        if refusals:
            yield reference, len(refusals), refusals[0]


def _list_cells(row: Row) -> Iterator[Sequence[str]]:
    if any(row.refusals):
        yield (row.name, "", *(each or "answers" for each in row.refusals), "")
        return
    name = row.name
    for output, cell in row.cells.items():
        if not cell.equal or cell.difference:
            yield (name, output, *cell.shown, _show(cell.difference))
            name = ""


def _describe(row: Row, references: tuple[str, str]) -> Json:
    told: Json = {"input": row.name, "equal": row.equal}
    if any(row.refusals):
        return told | {"refused": {name: text for name, text in zip(references, row.refusals, strict=True) if text}}
    outputs = {
        name: {**dict(zip(references, cell.shown, strict=True)), "difference": _finite(cell.difference)}
        for name, cell in row.cells.items()
    }
    return told | {"outputs": outputs}


def _list_quantiles_ms(latencies_s: Sequence[float]) -> dict[str, float]:
    values = np.percentile(np.array(latencies_s) * 1000, _SHARES_PCT)
    return {f"p{pct}": round(float(value), 3) for pct, value in zip(_SHARES_PCT, values, strict=True)}


def _show(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
