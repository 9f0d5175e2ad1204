"""When requests come: of a trace, or of a shape. The same seed always gives the same."""

import csv
import io
import json
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from forebay.errors import UserError

_SHAPE = re.compile(r"(?P<name>[a-z]+):(?P<low>\d+(\.\d+)?)(\.\.(?P<high>\d+(\.\d+)?))?")
_MOST = 5_000_000
_LAST_STEP_S = 1.0

# Requests a second, by the share of the time that is over: as (low, high) and that share.
SHAPES: dict[str, Callable[[float, float, float], float]] = {
    "constant": lambda low, _high, _share: low,
    "step": lambda low, high, share: high if 0.2 <= share < 0.6 else low,
    "ramp": lambda low, high, share: low + (high - low) * share,
    "wave": lambda low, high, share: low + (high - low) * (1 - math.cos(2 * math.pi * share)) / 2,
    "burst": lambda low, high, share: high if 0.5 <= share < 0.52 else low,
}


def build_shape(shape: str, *, duration_s: float, seed: int) -> list[float]:
    """The times of requests in seconds, by chance (Poisson) around a shape such as step:5..50. Raises UserError."""
    found = _SHAPE.fullmatch(shape)
    if not found or found["name"] not in SHAPES or (found["high"] is None) != (found["name"] == "constant"):
        names = ", ".join(name if name == "constant" else f"{name}:5..50" for name in SHAPES).replace(
            "constant", "constant:20"
        )
        raise UserError(f"--shape {shape}: write one of {names}, in requests per second")
    low, high = float(found["low"]), float(found["high"] or found["low"])
    if max(low, high) * duration_s > _MOST:
        raise UserError(f"--shape {shape}: more than {_MOST:,} requests: write a shorter --duration")
    chance, times, now_s, most = random.Random(seed), [], 0.0, max(low, high)  # noqa: S311  (nothing is hidden by it)
    while most:
        # Thinning: as many as at the height of it, of which as many are left out as there are fewer now.
        now_s += chance.expovariate(most)
        if now_s >= duration_s:
            break
        if chance.random() * most < SHAPES[found["name"]](low, high, now_s / duration_s):
            times.append(now_s)
    return times


def read_trace(file: Path, *, seed: int) -> list[float]:
    """The times of requests in seconds after the first, from lines of a time and a count, or of a time each.

    Raises UserError with the line that can't be read.
    """
    rows = list(_read_rows(file))
    if not rows:
        raise UserError(f"{file}: no requests: write lines of time,count, such as 2026-01-31T12:00:00Z,40")
    rows.sort(key=lambda row: row[0])
    if sum(count for _, count in rows) > _MOST:
        raise UserError(f"{file}: more than {_MOST:,} requests: cut the trace")
    first_s = rows[0][0]
    if all(count == 1 for _, count in rows):
        return [at_s - first_s for at_s, _ in rows]
    chance, times = random.Random(seed), []  # noqa: S311
    steps = [later - at_s for (at_s, _), (later, _) in pairwise(rows)]
    # The last step is as long as the one before it.
    for (at_s, count), step_s in zip(rows, [*steps, steps[-1] if steps else _LAST_STEP_S], strict=True):
        times += [at_s - first_s + chance.random() * step_s for _ in range(count)]
    return sorted(times)


def _read_rows(file: Path) -> Iterator[tuple[float, int]]:
    text = file.read_text()
    is_json = file.suffix in (".jsonl", ".ndjson") or text.lstrip().startswith("{")
    for number, fields in enumerate(_parse_json(text, file) if is_json else csv.reader(io.StringIO(text)), 1):
        if not fields or (number == 1 and not is_json and not _is_time(fields[0])):
            continue  # a head
        try:
            yield _parse_time_s(fields[0]), _parse_count(fields[1:])
        except ValueError as error:
            raise UserError(f"{file}:{number}: {error}") from None


def _parse_json(text: str, file: Path) -> Iterator[list[str]]:
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found = json.loads(line) if line.strip() else {}
            yield [str(found["time"]), *([str(found["count"])] if "count" in found else [])] if found else []
        except (ValueError, KeyError, TypeError):
            raise UserError(f'{file}:{number}: write {{"time": "2026-01-31T12:00:00Z", "count": 40}}') from None


def _is_time(text: str) -> bool:
    try:
        _parse_time_s(text)
    except ValueError:
        return False
    return True


def _parse_time_s(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        try:
            found = datetime.fromisoformat(text.strip()).timestamp()
        except ValueError:
            raise ValueError(f"{text!r} is no time: write seconds, or 2026-01-31T12:00:00Z") from None
    if not math.isfinite(found):
        raise ValueError(f"{text!r} is no time: write seconds, or 2026-01-31T12:00:00Z")
    return found


def _parse_count(fields: Sequence[str]) -> int:
    if not fields or not fields[0].strip():
        return 1
    try:
        count = int(fields[0])
    except ValueError:
        count = -1
    if count < 0:
        raise ValueError(f"{fields[0]!r} is no count: write a whole number of requests")
    return count
