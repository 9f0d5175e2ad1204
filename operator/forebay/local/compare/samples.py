"""Inputs to compare by: files of tensors or rows, as the requests that both versions get."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from forebay.errors import UserError
from forebay.local.compare.read import READERS, read_arrays
from forebay.local.download import fetch_files
from forebay.serving.errors import ServingError
from forebay.serving.storage.content import list_files
from forebay.serving.tensors import Array, Arrays, Tensor, check_inputs, datatype_of, numpy_dtype

_NO_TENSORS = "{file} is none of the files that tensors are read from ({known}): {fix}"
_FIX = {
    ".parquet": "save the table as .csv, or its arrays as .npz",
    ".png": "compare sends what the model takes: save the tensors that the transformer makes of pictures as .npz",
}


@dataclass(frozen=True)
class Sample:
    """One request: where its inputs come from, and the inputs."""

    name: str
    inputs: Arrays


async def bring_inputs(given: str) -> list[Path]:
    """The files of a path or an address (a folder's in the order of their names). Raises UserError, LocalError."""
    path = Path(given.removeprefix("file:"))
    if "://" in given:
        path = await fetch_files(given, "inputs")
    return await asyncio.to_thread(_list_files, path, given)


def _list_files(path: Path, given: str) -> list[Path]:
    if path.is_dir():
        found = [each for _, each in sorted(list_files(path).items()) if each.suffix in READERS]
        if not found:
            raise UserError(f"{given} holds none of the files that tensors are read from: {', '.join(READERS)}")
        return found
    if not path.is_file():
        raise UserError(f"there is no file or folder {given}")
    if path.suffix not in READERS:
        suffix = ".png" if path.suffix in (".jpg", ".jpeg") else path.suffix
        fix = _FIX.get(suffix, "name the file by what it holds")
        raise UserError(_NO_TENSORS.format(file=given, known=", ".join(READERS), fix=fix))
    return [path]


def read_samples(files: Iterable[Path], declared: Sequence[Tensor], *, limit: int, whole: bool) -> list[Sample]:
    """The requests of all files, the first `limit` of them. UserError where one isn't what the model takes."""
    samples = list(islice(_read_all(files, declared, whole=whole), limit))
    if not samples:
        raise UserError("the inputs hold no row: there is nothing to compare by")
    return samples


def _read_all(files: Iterable[Path], declared: Sequence[Tensor], *, whole: bool) -> Iterator[Sample]:
    for file in files:
        try:
            read, is_table = read_arrays(file, declared)
            arrays = {name: _cast(array, name, declared) for name, array in read.items()}
            _check(arrays, declared)
        except ServingError as error:
            raise UserError(f"{file}: {error.message}") from None
        except UnicodeDecodeError:
            raise UserError(f"{file} is not UTF-8 text") from None
        if whole or not _holds_rows(arrays, declared, is_table=is_table):
            yield Sample(file.name, arrays)
            continue
        for row in range(len(next(iter(arrays.values())))):
            yield Sample(f"{file.name}[{row}]", {name: array[row : row + 1] for name, array in arrays.items()})


def _check(arrays: Arrays, declared: Sequence[Tensor]) -> None:
    """BadRequest for what isn't declared. What lacks may be optional, which only the server knows."""
    given = [each for each in declared if each.name in arrays]
    check_inputs(arrays, given if len(given) == len(arrays) else declared)


def _cast(array: Array, name: str, declared: Sequence[Tensor]) -> Array:
    """The array in the declared type, where no kind of number is lost: float64, which numpy makes, for FP32."""
    tensor = next((each for each in declared if each.name == name), None)
    if tensor is None:
        return array
    given = np.char.encode(array, "utf-8").astype(object) if array.dtype.kind == "U" else array
    dtype = numpy_dtype(tensor.datatype, name)
    if datatype_of(given) == tensor.datatype or not np.can_cast(given.dtype, dtype, casting="same_kind"):
        return given
    return given.astype(dtype)


def _holds_rows(arrays: Arrays, declared: Sequence[Tensor], *, is_table: bool) -> bool:
    """Whether the first dimension is the batch's, so that each row is a request of its own.

    A lone dimension of any size may be a text's or a signal's: only a table says that it is rows.
    """
    least = 1 if is_table else 2
    given = [each for each in declared if each.name in arrays]
    batched = all(len(each.shape) >= least and each.shape[0] == -1 for each in given)
    return batched and len({len(array) for array in arrays.values()}) == 1
