"""KServe's v1 protocol, rows of JSON: `{"instances": [...]}` by row, `{"inputs": ...}` by column."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from forebay.serving.errors import BadRequest, quote
from forebay.serving.tensors import Array, Arrays, Tensor, check_shape, describe
from forebay.serving.values import decode_bytes, flatten, from_json

# Where nothing is declared, the kind of the JSON values decides.
_INFERRED = {frozenset({bool}): "BOOL", frozenset({str}): "BYTES", frozenset({int}): "INT64"}
DEFAULT_NAME = "input"


def rows_of(body: object) -> tuple[Any, str]:
    """What a v1 body carries, and under which key the answer goes: predictions for instances, outputs for inputs."""
    if isinstance(body, dict) and ("instances" in body) != ("inputs" in body):
        return (body["instances"], "predictions") if "instances" in body else (body["inputs"], "outputs")
    raise BadRequest('the body must be {"instances": [row, ...]} or {"inputs": {name: rows}}')


def decode_rows(rows: object, declared: Sequence[Tensor]) -> Arrays:
    """Rows as arrays of the declared inputs, of which the first dimension is the row.

    Rows are a list of values of the one input, a list of objects {name: value}, or an object {name: values}. Where
    nothing is declared the one input is called `input`, and datatypes follow from the values: FP64, INT64, BOOL, BYTES.
    """
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        rows = _columns(rows)
    if not isinstance(rows, dict):
        if len(declared) > 1:
            raise BadRequest(f"each row must be an object with the inputs {describe(declared)}")
        rows = {declared[0].name if declared else DEFAULT_NAME: rows}
    known = {tensor.name: tensor.datatype for tensor in declared}
    return {str(name): _decode_column(str(name), values, known.get(name)) for name, values in rows.items()}


def _columns(rows: list[Any]) -> dict[str, list[Any]]:
    names = rows[0].keys()
    if not all(isinstance(row, dict) and row.keys() == names for row in rows):
        raise BadRequest(f"every row must be an object with the same inputs: {', '.join(map(quote, names))}")
    return {name: [row[name] for row in rows] for name in names}


def _decode_column(name: str, values: object, datatype: str | None) -> Array:
    flat, shape = flatten(name, values)
    if datatype is None:
        datatype = _INFERRED.get(frozenset(map(type, flat)), "FP64")
    return from_json(name, datatype, flat).reshape(check_shape(name, shape))


def encode_rows(outputs: Arrays, key: str) -> Any:
    """Outputs as JSON values: by row for predictions, by column for outputs; of a single output its values alone."""
    columns = {name: _nested(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    sizes = {array.shape[:1] for array in outputs.values()}
    if key == "predictions" and len(sizes) == 1 and sizes != {()}:
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return columns


def _nested(name: str, array: Array) -> Any:
    if array.dtype.kind != "O":
        return array.tolist()
    texts = np.empty(array.size, dtype=np.object_)
    texts[:] = [decode_bytes(name, item) for item in array.reshape(-1)]
    return texts.reshape(array.shape).tolist()


def dump_json(value: object) -> bytes:
    """JSON of a value that may hold numpy arrays and numbers, and bytes in UTF-8. NaN and infinities become null."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False).encode()
    except ValueError:  # NaN or infinity somewhere: only then is it worth a walk
        return json.dumps(_finite(json.loads(json.dumps(value, default=_plain)))).encode()


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return decode_bytes("", value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(
        f"{type(value).__name__} cannot be written as JSON: return lists, dicts, numbers, strings or arrays"
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {name: _finite(item) for name, item in value.items()} if isinstance(value, dict) else value
