"""Whether two answers to one request agree: numbers within a tolerance, all else exactly.

JSON of the v2 and v1 protocols, v2 with its binary extension, and gRPC's ModelInfer are read; of any other answer the
bytes must be the same. What names the model, its version or the request is no part of an answer.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.gateway.tensors import Output, read_binary, read_grpc

_NAMES = ("id", "model_name", "model_version", "parameters")
_LONGEST = 60
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far numbers with a fraction may be apart: by so much, or by that part of what was answered."""

    relative: float = 0.001
    absolute: float = 1e-5

    def allows(self, told: float, other: float) -> bool:
        """Whether they are near enough; what is no number, or infinite, must be the same."""
        if told == other or (math.isnan(told) and math.isnan(other)):
            return True
        return abs(told - other) <= max(self.absolute, self.relative * abs(told)) < math.inf


@dataclass(frozen=True, kw_only=True)
class Body:
    """An answer, and what its headers say of it. `header_length` is of the binary extension's JSON part."""

    content: bytes
    content_type: str = ""
    header_length: int | None = None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where two answers differ first, and what stands there in each."""

    where: str
    told: str
    other: str


def find_difference(told: Body, other: Body, tolerance: Tolerance) -> Difference | None:
    """Where the answers differ; None: nowhere."""
    if told.content == other.content and told.header_length == other.header_length:
        return None
    try:
        return next(_compare("", _read(told), _read(other), tolerance), None)
    except _UNREADABLE:
        return Difference(where="the body", told=_show(told.content), other=_show(other.content))


def _read(body: Body) -> Any:
    """What it says. Raises whatever there is to what a model may answer."""
    if body.content_type.startswith("application/grpc"):
        return {"outputs": _index(read_grpc(body.content))}
    if body.header_length is not None:
        return {"outputs": _index(read_binary(body.content, body.header_length))}
    return _normalize(json.loads(body.content))


def _normalize(told: Any) -> Any:
    """Without names; tensors by theirs, in whatever order."""
    if not isinstance(told, dict):
        return told
    kept = {name: value for name, value in told.items() if name not in _NAMES}
    outputs = kept.get("outputs")
    if isinstance(outputs, list) and all(isinstance(each, dict) and "name" in each for each in outputs):
        read = [
            Output(str(each["name"]), each.get("datatype"), each.get("shape"), each.get("data")) for each in outputs
        ]
        kept["outputs"] = _index(read)
    return kept


def _index(outputs: Sequence[Output]) -> dict[str, Any]:
    return {
        each.name: {"datatype": each.datatype, "shape": each.shape, "data": list(_flatten(each.data))}
        for each in outputs
    }


def _flatten(data: Any) -> Iterator[Any]:
    """Tensors may be nested or flat: their shape tells. However deep: with no call for each list."""
    left = [data]
    while left:
        each = left.pop()
        if isinstance(each, list):
            left += reversed(each)
        else:
            yield each


def _compare(where: str, told: Any, other: Any, tolerance: Tolerance) -> Iterator[Difference]:
    if isinstance(told, dict) and isinstance(other, dict):
        yield from _compare_fields(where, told, other, tolerance)
    elif isinstance(told, list) and isinstance(other, list):
        if len(told) != len(other):
            lengths = [f"{len(each)} values" for each in (told, other)]
            yield Difference(where=_clip(where) or "the answer", told=lengths[0], other=lengths[1])
        for index, (one, another) in enumerate(zip(told, other, strict=False)):
            yield from _compare(f"{where}[{index}]", one, another, tolerance)
    elif not _is_same(told, other, tolerance):
        yield Difference(where=_clip(where) or "the answer", told=_show(told), other=_show(other))


def _compare_fields(
    where: str, told: Mapping[str, Any], other: Mapping[str, Any], tolerance: Tolerance
) -> Iterator[Difference]:
    for name in [*told, *(each for each in other if each not in told)]:
        path = f"{where}.{name}" if where else str(name)
        if name in told and name in other:
            yield from _compare(path, told[name], other[name], tolerance)
        else:
            shown = [_show(each[name]) if name in each else "nothing" for each in (told, other)]
            yield Difference(where=_clip(path), told=shown[0], other=shown[1])


def _is_same(told: Any, other: Any, tolerance: Tolerance) -> bool:
    """Whole numbers are labels and counts; where one has a fraction both are measures."""
    if isinstance(told, bool) or isinstance(other, bool):
        return told is other
    if isinstance(told, float | int) and isinstance(other, float | int):
        is_measure = isinstance(told, float) or isinstance(other, float)
        return tolerance.allows(float(told), float(other)) if is_measure else told == other
    return bool(told == other)


def _show(value: Any) -> str:
    """A few characters of it."""
    return _clip(value.decode("utf-8", "replace") if isinstance(value, bytes) else json.dumps(value, default=str))


def _clip(text: str) -> str:
    """What a terminal may show."""
    shown = "".join(each if each.isprintable() else "�" for each in text[: _LONGEST + 1])
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
