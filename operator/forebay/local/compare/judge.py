"""How far two versions agree: pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from forebay.serving.tensors import Array, Arrays, datatype_of

# What another order of summing makes of float32; two runs of one model are nearer.
DEFAULT_TOLERANCE = 1e-5
_CELLS_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When two answers are equal. `labels` are those of each version's classes, if it has any.

    Without a tolerance, scores of classes are equal where the same class has the highest.
    """

    labels: tuple[Sequence[str], Sequence[str]] = ((), ())
    tolerance: float | None = None


@dataclass(frozen=True)
class Cell:
    """One output of one request, of both versions. No difference: it can't be taken."""

    equal: bool
    difference: float | None
    shown: tuple[str, str]
    mean: float | None = None
    by_class: bool = False


def compare_answers(one: Arrays, other: Arrays, rules: Rules) -> dict[str, Cell]:
    """Each output that either version gives."""
    return {
        name: _compare(one[name], other[name], rules)
        if name in one and name in other
        else Cell(False, None, tuple(show(side[name]) if name in side else "nothing" for side in (one, other)))  # type: ignore[arg-type]
        for name in dict.fromkeys([*one, *other])
    }


def _compare(one: Array, other: Array, rules: Rules) -> Cell:
    shown = (show(one), show(other))
    if one.dtype.kind == "O" or other.dtype.kind == "O" or one.dtype.kind == "b":
        return Cell(bool(one.shape == other.shape and np.array_equal(one, other)), None, shown)
    if classes := _read_classes(one, other, rules):
        return _compare_scores(one, other, classes, rules)
    if one.shape != other.shape:
        sizes = tuple(f"{datatype_of(each)} {list(each.shape)}" for each in (one, other))
        return Cell(False, None, (sizes[0], sizes[1]))
    differences = _subtract(one, other)
    largest, mean = _measure(differences)
    tolerance = rules.tolerance if rules.tolerance is not None else DEFAULT_TOLERANCE
    whole = one.dtype.kind in "iu" and other.dtype.kind in "iu" and rules.tolerance is None
    # Beyond 2^53 whole numbers are one in float64 that aren't.
    equal = np.array_equal(one, other) if whole else bool((differences <= tolerance).all())
    return Cell(equal, largest, shown, mean)


def _read_classes(one: Array, other: Array, rules: Rules) -> tuple[Sequence[str], Sequence[str]] | None:
    """The labels of both versions' scores, where the output holds a score for each class."""
    labels = (rules.labels[0] or rules.labels[1], rules.labels[1] or rules.labels[0])
    scored = all(
        each.dtype.kind in "fV" and each.size and each.ndim and each.shape[-1] == len(names)
        for each, names in zip((one, other), labels, strict=True)
    )
    return labels if scored and one.shape[:-1] == other.shape[:-1] else None


def _compare_scores(one: Array, other: Array, labels: tuple[Sequence[str], Sequence[str]], rules: Rules) -> Cell:
    chosen = [_choose(scores, names) for scores, names in zip((one, other), labels, strict=True)]
    equal = chosen[0] == chosen[1]
    largest: float | None = None
    mean: float | None = None
    if sorted(labels[0]) == sorted(labels[1]) and len(set(labels[0])) == len(labels[0]):
        # The same classes may stand in another order.
        places = [labels[1].index(each) for each in labels[0]]
        differences = _subtract(one, other[..., places])
        largest, mean = _measure(differences)
        if rules.tolerance is not None:
            equal = equal and bool((differences <= rules.tolerance).all())
    shown = tuple(", ".join(each[:_CELLS_SHOWN]) for each in chosen)
    return Cell(equal, largest, (shown[0], shown[1]), mean, by_class=True)


def _choose(scores: Array, labels: Sequence[str]) -> list[str]:
    best = np.argmax(scores.astype(np.float64).reshape(-1, scores.shape[-1]), axis=-1)
    return [labels[int(each)] for each in best]


def _subtract(one: Array, other: Array) -> Array:
    """Absolute differences: none between what is both NaN, or the same infinity; no end where one alone is NaN."""
    left, right = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        differences = np.abs(left - right)
    differences[(left == right) | (np.isnan(left) & np.isnan(right))] = 0
    differences[np.isnan(differences)] = np.inf
    return differences


def _measure(differences: Array) -> tuple[float, float]:
    return (float(differences.max()), float(differences.mean())) if differences.size else (0.0, 0.0)


def show(array: Array) -> str:
    """The first values of an output."""
    flat = array.reshape(-1)
    values = [_show_value(each) for each in flat[:_CELLS_SHOWN].tolist()]
    return ", ".join(values) + (f", ... ({flat.size})" if flat.size > _CELLS_SHOWN else "")


def _show_value(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Row:
    """One request to both: its outputs side by side, or what a version said instead of answering."""

    name: str
    cells: Mapping[str, Cell]
    refusals: tuple[str, str] = ("", "")

    @property
    def equal(self) -> bool:
        """Whether the answers are; what both refuse is no answer."""
        return not any(self.refusals) and all(cell.equal for cell in self.cells.values())

    @property
    def distance(self) -> tuple[bool, bool, float]:
        """To sort by: what was refused, then what is unequal, then by the largest difference."""
        known = [cell.difference for cell in self.cells.values() if cell.difference is not None]
        return any(self.refusals), not self.equal, max(known, default=0.0)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One output over all requests. Differences are none where none could be taken."""

    agreement: float
    largest: float | None
    mean: float | None
    by_class: bool


def summarize(rows: Sequence[Row]) -> dict[str, Summary]:
    """Each output, of the requests that both answered."""
    names = dict.fromkeys(name for row in rows for name in row.cells)
    return {name: _summarize([row.cells[name] for row in rows if name in row.cells]) for name in names}


def _summarize(cells: Sequence[Cell]) -> Summary:
    return Summary(
        agreement=fmean(cell.equal for cell in cells),
        largest=max(_known(cell.difference for cell in cells), default=None),
        mean=fmean(means) if (means := list(_known(cell.mean for cell in cells))) else None,
        by_class=any(cell.by_class for cell in cells),
    )


def _known(values: Iterator[float | None]) -> Iterator[float]:
    return (each for each in values if each is not None)


def share_equal(rows: Sequence[Row]) -> float:
    """The share of the requests with equal answers, 0 to 1."""
    return fmean(row.equal for row in rows)


def find_worst(rows: Sequence[Row], count: int) -> list[Row]:
    """Those that differ most, worst first; none that doesn't differ."""
    differing = [row for row in rows if row.distance > (False, False, 0.0)]
    return sorted(differing, key=lambda row: row.distance, reverse=True)[:count]
