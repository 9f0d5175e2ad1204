"""Elements of tensors, to and from JSON values and bytes. Whatever a client sends ends in an array or a BadRequest."""

import itertools
import math
import struct
from typing import Any

import numpy as np
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from forebay.serving.errors import BadRequest, quote
from forebay.serving.tensors import MAX_RANK, Array, numpy_dtype

Buffer = bytes | bytearray | memoryview

_JSON_TYPES: dict[str, set[type]] = {"BOOL": {bool}, "BYTES": {str}}
_INTEGERS: set[type] = {int}
_FLOATS: set[type] = {int, float}


def from_json(name: str, datatype: str, data: object) -> Array:
    """A flat array of the elements in a JSON list, nested or not. Strings are BYTES in UTF-8."""
    dtype = numpy_dtype(datatype, name)
    flat, _ = flatten(name, data)
    allowed = _JSON_TYPES.get(datatype, _FLOATS if dtype.kind in "fV" else _INTEGERS)
    wrong = set(map(type, flat)) - allowed
    if wrong:
        kinds = ", ".join(sorted(kind.__name__ for kind in wrong))
        raise BadRequest(f"input {quote(name)}: data must hold {datatype} values, but holds {kinds}")
    if datatype == "BYTES":
        return _encode_strings(name, flat)
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, dtype=dtype)
    except (OverflowError, ValueError, TypeError) as error:
        raise BadRequest(f"input {quote(name)}: a value is out of range for {datatype}") from error
    if allowed is _FLOATS and not np.isfinite(array).all():
        raise BadRequest(f"input {quote(name)}: a value is out of range for {datatype}")
    return array


def flatten(name: str, data: object) -> tuple[list[Any], tuple[int, ...]]:
    """The elements of a nested list, and its shape. Lists of unequal lengths, or too deep: BadRequest."""
    if not isinstance(data, list):
        raise BadRequest(f"input {quote(name)}: data must be a list, not {type(data).__name__}")
    shape = [len(data)]
    while data and isinstance(data[0], list):
        if set(map(type, data)) != {list} or len(set(map(len, data))) != 1:
            raise BadRequest(f"input {quote(name)}: data is ragged: lists at one depth must have one length")
        shape.append(len(data[0]))
        if len(shape) > MAX_RANK:
            raise BadRequest(f"input {quote(name)}: data is nested deeper than {MAX_RANK}")
        data = list(itertools.chain.from_iterable(data))
    return data, tuple(shape)


def _encode_strings(name: str, strings: list[str]) -> Array:
    array = np.empty(len(strings), dtype=np.object_)
    try:
        array[:] = [string.encode() for string in strings]
    except UnicodeEncodeError as error:
        raise BadRequest(f"input {quote(name)}: a string is not valid Unicode") from error
    return array


def from_raw(name: str, datatype: str, raw: Buffer, count: int) -> Array:
    """A flat, aligned array of `count` elements, little-endian; BYTES elements each follow their length (uint32)."""
    dtype = numpy_dtype(datatype, name)
    if datatype == "BYTES":
        return _split_bytes(name, raw, count)
    if len(raw) != count * dtype.itemsize:
        raise BadRequest(
            f"input {quote(name)}: {count} elements of {datatype} are {count * dtype.itemsize} bytes, got {len(raw)}"
        )
    if not count:
        return np.empty(0, dtype)
    if datatype == "BOOL":  # any other byte than 0 and 1 would make an invalid numpy bool
        return np.asarray(np.frombuffer(raw, np.uint8) != 0)
    array = np.frombuffer(raw, dtype)
    return array if array.flags.aligned and array.flags.writeable else array.copy()


def _split_bytes(name: str, raw: Buffer, count: int) -> Array:
    wrong = BadRequest(f"input {quote(name)}: {len(raw)} bytes do not hold {count} BYTES elements with their lengths")
    if count * 4 > len(raw) or len(raw) >= 2**32:
        raise wrong
    try:
        array: Array = deserialize_bytes_tensor(bytes(raw))
    except struct.error as error:
        raise wrong from error
    if array.size != count:
        raise wrong
    return array


def to_raw(array: Array) -> bytes:
    """The bytes of an array, row by row: what from_raw reads."""
    if array.dtype.kind == "O":
        return bytes(serialize_byte_tensor(array).item()) if array.size else b""
    return array.tobytes()


def to_json(name: str, array: Array) -> list[Any]:
    """The elements of an array as a flat list of JSON values.

    JSON has no NaN or infinity: they become null. Bytes that are not UTF-8 cannot be sent so: BadRequest.
    """
    flat = array.reshape(-1)
    if array.dtype.kind == "O":
        return [decode_bytes(name, item) for item in flat]
    values: list[Any] = flat.tolist()
    if flat.size and isinstance(values[0], float) and not np.isfinite(flat).all():
        return [value if math.isfinite(value) else None for value in values]
    return values


def decode_bytes(name: str, item: object) -> str:
    """One BYTES element as text."""
    if not isinstance(item, bytes):
        return str(item)
    try:
        return item.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"output {quote(name)} is not UTF-8 text, which JSON needs: ask for binary data") from error
