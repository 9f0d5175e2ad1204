"""Files of tensors: NumPy's, JSON of the Open Inference Protocol or of rows, and tables."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forebay.sending import load_arrays
from forebay.serving.errors import BadRequest
from forebay.serving.rows import decode_rows, rows_of
from forebay.serving.tensors import Array, Arrays, Tensor, describe, numpy_dtype
from forebay.serving.v2 import decode_request, load_json

READERS = (".npz", ".npy", ".json", ".jsonl", ".csv")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def read_arrays(file: Path, declared: Sequence[Tensor]) -> tuple[Arrays, bool]:
    """The tensors in a file, and whether it is a table, of which the first dimension is the row.

    BadRequest or UserError where they can't be read.
    """
    match file.suffix:
        case ".csv":
            return _read_table(file.read_text("utf-8-sig"), declared), True
        case ".jsonl":
            lines = [line for line in file.read_bytes().splitlines() if line.strip()]
            return decode_rows([load_json(line) for line in lines], declared), True
        case ".json":
            return _read_json(file.read_bytes(), declared)
        case _:
            loaded = load_arrays(file.name, file.read_bytes())
            return {declared[0].name: loaded} if isinstance(loaded, np.ndarray) else loaded, False


def _read_json(content: bytes, declared: Sequence[Tensor]) -> tuple[Arrays, bool]:
    body = load_json(content)
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if isinstance(inputs, list) and all(isinstance(each, dict) and "datatype" in each for each in inputs):
        return decode_request(content).inputs, False
    rows = body if isinstance(body, list) else rows_of(body)[0]
    return decode_rows(rows, declared), True


def _read_table(text: str, declared: Sequence[Tensor]) -> Arrays:
    """A column for each input; or for the one input, its features in the order of the columns."""
    head, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    wrong = next((number for number, row in enumerate(rows, 2) if len(row) != len(head)), 0)
    if wrong:
        raise BadRequest(f"line {wrong} has {len(rows[wrong - 2])} values, and the head has {len(head)}")
    if set(head) <= {each.name for each in declared}:
        given = [each for each in declared if each.name in head]
        return {each.name: _read_columns(each, rows, [head.index(each.name)]) for each in given}
    one = declared[0]
    if len(declared) == 1 and len(one.shape) == 2 and one.shape[1] in (-1, len(head)):
        return {one.name: _read_columns(one, rows, range(len(head)))}
    raise BadRequest(
        f"the columns are {', '.join(head[:8])}{', ...' if len(head) > 8 else ''}, and the model takes "
        f"{describe(declared)}: name a column after each input, or write as many columns as the one input has features"
    )


def _read_columns(tensor: Tensor, rows: Sequence[Sequence[str]], columns: Sequence[int]) -> Array:
    dtype = numpy_dtype(tensor.datatype, tensor.name)
    values = np.empty((len(rows), len(columns)), dtype)
    for number, row in enumerate(rows):
        for place, column in enumerate(columns):
            try:
                values[number, place] = _read_value(row[column], dtype.kind)
            except (ValueError, KeyError, OverflowError):
                where = f"line {number + 2}, column {column + 1}"
                raise BadRequest(f"{where}: {row[column]!r} is no {tensor.datatype}") from None
    return values.reshape(len(rows), *[1] * (len(tensor.shape) - 1)) if len(columns) == 1 else values


def _read_value(text: str, kind: str) -> object:
    if kind == "O":
        return text.encode()
    if kind == "b":
        return _TRUTHS[text.strip().lower()]
    return int(text) if kind in "iu" else float(text)
