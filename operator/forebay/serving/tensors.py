"""Tensors: datatypes of the v2 protocol, declared shapes, and the checks of what came."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from forebay.serving.errors import BadRequest, ModelFault, quote

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]

DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BF16",
    "BYTES",
)  # fmt: skip
MAX_RANK = 32
MAX_DIMENSION = 2**31 - 1


@dataclass(frozen=True)
class Tensor:
    """An input or output: its name, v2 datatype, and shape, in which -1 stands for any size.

    The shape is the whole shape, with the batch's dimension if there is one. A request may leave out an input that is
    `optional`. Raises ValueError when it makes no sense.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    optional: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a tensor's name must be a non-empty string, not {self.name!r}")
        if self.datatype not in DATATYPES:
            raise ValueError(f"tensor {self.name!r}: datatype {self.datatype!r} must be one of {', '.join(DATATYPES)}")
        sizes = self.shape if isinstance(self.shape, list | tuple) else [None]
        if not all(type(size) is int and size >= -1 for size in sizes):
            raise ValueError(
                f"tensor {self.name!r}: shape must be a list of sizes such as [-1, 64], not {self.shape!r}"
            )
        object.__setattr__(self, "shape", tuple(self.shape))

    def __str__(self) -> str:
        return f"{self.datatype} {list(self.shape)}"

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a shape is one that was declared."""
        return len(shape) == len(self.shape) and all(
            want in (-1, got) for want, got in zip(self.shape, shape, strict=True)
        )

    def agrees(self, other: "Tensor") -> bool:
        """Whether there are arrays that both stand for."""
        return (
            self.datatype == other.datatype
            and len(self.shape) == len(other.shape)
            and all(-1 in pair or pair[0] == pair[1] for pair in zip(self.shape, other.shape, strict=True))
        )


def numpy_dtype(datatype: str, name: str = "") -> np.dtype[Any]:
    """The numpy type of a v2 datatype (BYTES is object, BF16 is ml_dtypes.bfloat16). Unknown: BadRequest."""
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise BadRequest(f"input {quote(name)}: datatype {quote(datatype)} must be one of {', '.join(DATATYPES)}")
    dtype: np.dtype[Any] = np.dtype(triton_to_np_dtype(datatype))
    return dtype


def datatype_of(array: Array) -> str:
    """The v2 datatype of an array. ModelFault where the protocol has none, as for complex numbers."""
    datatype = "BYTES" if array.dtype.kind == "U" else np_to_triton_dtype(array.dtype)
    if datatype is None:
        raise ModelFault(f"an array of numpy type {array.dtype} cannot be sent: use one of {', '.join(DATATYPES)}")
    return str(datatype)


def check_shape(name: str, shape: object) -> tuple[int, ...]:
    """A shape that a client sent, as a tuple; BadRequest unless it is a list of sizes within bounds."""
    if not isinstance(shape, list | tuple) or len(shape) > MAX_RANK:
        raise BadRequest(f"input {quote(name)}: shape must be a list of at most {MAX_RANK} sizes, not {quote(shape)}")
    if not all(type(size) is int and 0 <= size <= MAX_DIMENSION for size in shape):
        raise BadRequest(f"input {quote(name)}: sizes in shape must be integers from 0 to 2^31-1, not {quote(shape)}")
    return tuple(shape)


def shape_array(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """The array in that shape; BadRequest where it has another number of elements."""
    if math.prod(shape) != array.size:
        raise BadRequest(
            f"input {quote(name)}: shape {list(shape)} has {math.prod(shape)} elements, but {array.size} came"
        )
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise BadRequest(f"input {quote(name)}: shape {quote(list(shape))} is too big") from error


def check_inputs(inputs: Arrays, declared: Sequence[Tensor]) -> None:
    """Check that what came is what was declared, if anything was; BadRequest says what was expected."""
    if not declared:
        return
    known = {tensor.name: tensor for tensor in declared}
    for name in inputs:
        if name not in known:
            raise BadRequest(f"unknown input {quote(name)}: expected {describe(declared)}")
    for tensor in declared:
        if tensor.name in inputs:
            _check_input(inputs[tensor.name], tensor)
        elif not tensor.optional:
            raise BadRequest(f"input '{tensor.name}' is missing: expected {describe(declared)}")


def _check_input(array: Array, tensor: Tensor) -> None:
    came = Tensor(tensor.name, datatype_of(array), array.shape)
    if came.datatype != tensor.datatype or not tensor.fits(array.shape):
        raise BadRequest(f"input '{tensor.name}': expected {tensor}, got {came}")


def check_outputs(result: object, declared: Sequence[Tensor], source: str) -> Arrays:
    """What a script returned, as arrays by name, of the declared types. ModelFault where it is something else.

    One array will do when one output is declared. Types are brought in line where no kind of number is lost, such as
    float64 where FP32 was declared.
    """
    if not isinstance(result, Mapping):
        if len(declared) != 1:
            raise ModelFault(f"{source} must return a dict of arrays by name, not {type(result).__name__}")
        result = {declared[0].name: result}
    arrays = {str(name): _as_array(value, f"{source}: output {name!r}") for name, value in result.items()}
    for tensor in declared:
        if tensor.name in arrays:
            arrays[tensor.name] = _cast_output(arrays[tensor.name], tensor, source)
        elif not tensor.optional:
            raise ModelFault(f"{source} returned {sorted(arrays)}, without the declared output '{tensor.name}'")
    return arrays


def _as_array(value: object, where: str) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ModelFault(f"{where} is no array: {error}") from error
    if array.dtype.kind in "US":  # numpy drops zero bytes at the end of its own fixed-size strings
        array = array.astype(object)
    datatype_of(array)
    return array


def _cast_output(array: Array, tensor: Tensor, source: str) -> Array:
    dtype = np.dtype(triton_to_np_dtype(tensor.datatype))
    if not tensor.fits(array.shape) or not np.can_cast(array.dtype, dtype, casting="same_kind"):
        came = f"{datatype_of(array)} {list(array.shape)}"
        raise ModelFault(f"{source}: output '{tensor.name}' was declared as {tensor}, and came as {came}")
    return array.astype(dtype, copy=False)


def describe(tensors: Iterable[Tensor]) -> str:
    """Tensors in a sentence: `'image' FP32 [-1, 64]`."""
    return ", ".join(f"'{tensor.name}' {tensor}{' (optional)' if tensor.optional else ''}" for tensor in tensors)
