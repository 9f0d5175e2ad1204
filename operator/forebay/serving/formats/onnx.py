"""What an .onnx file says of itself, read without its weights."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forebay.serving.formats.errors import bad_format
from forebay.serving.formats.tensors import Signature, Tensor
from forebay.serving.formats.wire import Message, WireError

# Numbers of fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_IR_VERSION, _GRAPH = 1, 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _SPARSE_INITIALIZER = 1, 5, 11, 12, 15
_ATTRIBUTE, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_NUMBERS = 5, (5, 10), (6, 11), (2, 3, 4, 7, 8, 9)
_TENSOR_NAME, _TENSOR_DATA, _EXTERNAL_DATA, _SPARSE_VALUES = 8, (4, 5, 6, 7, 9, 10, 11), 13, 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TENSOR_TYPE, _SEQUENCE_TYPE, _MAP_TYPE = 1, 4, 5
_ELEMENT, _SHAPE, _DIMENSION, _DIMENSION_VALUE, _DIMENSION_NAME = 1, 2, 1, 1, 2

_DATATYPES = {
    1: "TYPE_FP32", 2: "TYPE_UINT8", 3: "TYPE_INT8", 4: "TYPE_UINT16", 5: "TYPE_INT16", 6: "TYPE_INT32",
    7: "TYPE_INT64", 8: "TYPE_STRING", 9: "TYPE_BOOL", 10: "TYPE_FP16", 11: "TYPE_FP64", 12: "TYPE_UINT32",
    13: "TYPE_UINT64", 16: "TYPE_BF16",
}  # fmt: skip
# What tf2onnx and paddle2onnx call each dimension that has no name: it says nothing.
_NAMELESS = ("unk__", "p2o.DynamicDimension")
_SEQUENCE = "a sequence or map, which Triton doesn't serve: with skl2onnx, convert with options={'zipmap': False}"
# Loops within loops: nobody nests so many.
_DEEPEST = 32


@dataclass(frozen=True)
class OnnxModel:
    """A model's signature, and the files beside it that hold weights."""

    signature: Signature
    data_files: tuple[str, ...]


def read_onnx(path: Path) -> OnnxModel:
    """Read what an .onnx file says of itself. Raises StorageError(BadFormat) where it is none, or damaged; OSError."""
    size = path.stat().st_size
    if not size:
        raise bad_format(f"{path.name} is empty: upload it again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        whole = Message(data, 0, size)
        try:
            graphs = list(whole.messages(_GRAPH))
            if not graphs or not whole.has(_IR_VERSION):
                raise bad_format(f"{path.name} is no ONNX model: it has no graph")
            return OnnxModel(_read_signature(graphs[-1]), tuple(dict.fromkeys(_find_data_files(graphs[-1]))))
        except WireError as error:
            if error.cut_off:
                raise bad_format(
                    f"{path.name} is cut off: what it announces goes on behind its {size} bytes. Upload it again"
                ) from error
            raise bad_format(f"{path.name} is no ONNX model: it can't be read at byte {error.at}") from error


def _read_signature(graph: Message) -> Signature:
    # Up to IR version 3 weights are listed among the inputs.
    weights = {each.text(_TENSOR_NAME) for each in graph.messages(_INITIALIZER)}
    inputs = [_read_value(each) for each in graph.messages(_INPUT)]
    outputs = [_read_value(each) for each in graph.messages(_OUTPUT)]
    return Signature(tuple(each for each in inputs if each.name not in weights), tuple(outputs))


def _read_value(value: Message) -> Tensor:
    name = value.text(_VALUE_NAME)
    for type_ in value.messages(_VALUE_TYPE):
        for tensor in type_.messages(_TENSOR_TYPE):
            return _read_tensor(name, tensor)
        if type_.has(_SEQUENCE_TYPE) or type_.has(_MAP_TYPE):
            return Tensor(
                name, "", None, unusable="a sequence or map (skl2onnx: convert with options={'zipmap': False})"
            )
    return Tensor(name, "", None, unusable="of no type that is told")


def _read_tensor(name: str, tensor: Message) -> Tensor:
    element = tensor.integer(_ELEMENT)
    datatype = _DATATYPES.get(element, "")
    unusable = "" if datatype else f"of ONNX's element type {element}, which Triton doesn't know"
    shape = next(tensor.messages(_SHAPE), None)
    if shape is None:
        return Tensor(name, datatype, None, unusable=unusable)
    dimensions = list(shape.messages(_DIMENSION))
    sizes = tuple(size if (size := each.integer(_DIMENSION_VALUE)) > 0 else -1 for each in dimensions)
    first = dimensions[0].text(_DIMENSION_NAME) if dimensions else ""
    return Tensor(name, datatype, sizes, "" if first.startswith(_NAMELESS) else first, unusable)


def _find_data_files(graph: Message, *, depth: int = 0) -> Iterator[str]:
    """The files that hold weights, as the tensors of a graph name them, also those of graphs within its nodes."""
    if depth > _DEEPEST:
        raise WireError(graph.start, cut_off=False)
    for tensor in graph.messages(_INITIALIZER):
        yield from _locate(tensor)
    for sparse in graph.messages(_SPARSE_INITIALIZER):
        for values in sparse.messages(_SPARSE_VALUES):
            yield from _locate(values)
    for node in graph.messages(_NODE):
        for attribute in node.messages(_ATTRIBUTE):
            yield from _find_in_attribute(attribute, depth=depth)


def _find_in_attribute(attribute: Message, *, depth: int) -> Iterator[str]:
    for number, value in attribute.fields():
        # A forest has millions of numbers here, each a field of its own. An attribute is of one kind alone.
        if number in _ATTRIBUTE_NUMBERS:
            return
        if number in _ATTRIBUTE_TENSORS and isinstance(value, Message):
            yield from _locate(value)
        elif number in _ATTRIBUTE_GRAPHS and isinstance(value, Message):
            yield from _find_data_files(value, depth=depth + 1)


def _locate(tensor: Message) -> Iterator[str]:
    for number, value in tensor.fields():
        if number in _TENSOR_DATA:
            return
        if number == _EXTERNAL_DATA and isinstance(value, Message) and value.text(_ENTRY_KEY) == "location":
            yield value.text(_ENTRY_VALUE)
