"""The tensors of an answer in the v2 protocol, as far as they are compared: with the binary extension, or over gRPC.

The pilot has no numpy: its memory would be of every pod of the gateway.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

# What of https://github.com/kserve/open-inference-protocol's ModelInferResponse is read: message, field, number, kind.
_FIELDS = {
    "Contents": {
        "bool_contents": (1, "BOOL"), "int_contents": (2, "INT32"), "int64_contents": (3, "INT64"),
        "uint_contents": (4, "UINT32"), "uint64_contents": (5, "UINT64"), "fp32_contents": (6, "FLOAT"),
        "fp64_contents": (7, "DOUBLE"), "bytes_contents": (8, "BYTES"),
    },
    "Tensor": {"name": (1, "STRING"), "datatype": (2, "STRING"), "shape": (3, "INT64"), "contents": (5, "Contents")},
    "Response": {"outputs": (5, "Tensor"), "raw_output_contents": (6, "BYTES")},
}  # fmt: skip
_ONE = {("Tensor", "name"), ("Tensor", "datatype"), ("Tensor", "contents")}
_PACKAGE = "forebay.answers"
# Of the struct module.
_FORMATS = {
    "FP16": "e", "FP32": "f", "FP64": "d", "BOOL": "?", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
}  # fmt: skip
_GRPC_HEAD = struct.Struct(">BI")


@dataclass(frozen=True)
class Output:
    """A tensor of an answer; the data may be nested."""

    name: str
    datatype: Any
    shape: Any
    data: Any


def _build_response_type() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="forebay/answers.proto", package=_PACKAGE, syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in _FIELDS.items():
        made = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = kinds.LABEL_OPTIONAL if (message, name) in _ONE else kinds.LABEL_REPEATED
            field = made.field.add(name=name, number=number, label=label)
            if kind in _FIELDS:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Response"))


_Response = _build_response_type()


def read_grpc(content: bytes) -> list[Output]:
    """The outputs of ModelInfer's answer, or of the answers of a stream. Raises ValueError."""
    return [output for message in _split(content) for output in _read_response(message)]


def _split(content: bytes) -> Iterator[bytes]:
    """The messages of a gRPC body."""
    at = 0
    while at < len(content):
        if len(content) - at < _GRPC_HEAD.size:
            raise ValueError("an incomplete message")
        compressed, length = _GRPC_HEAD.unpack_from(content, at)
        at += _GRPC_HEAD.size + length
        if compressed or at > len(content):
            raise ValueError("a compressed or incomplete message")
        yield content[at - length : at]


def _read_response(message: bytes) -> list[Output]:
    try:
        answer = _Response.FromString(message)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    outputs, raws = answer.outputs, answer.raw_output_contents
    if raws and len(raws) != len(outputs):
        raise ValueError("not one content for each output")
    return [
        Output(each.name, each.datatype, list(each.shape), _unpack(each.datatype, raws[index]) if raws else _take(each))
        for index, each in enumerate(outputs)
    ]


def _take(tensor: Any) -> list[Any]:
    return [value for _, values in tensor.contents.ListFields() for value in values]


def read_binary(content: bytes, header_length: int) -> list[Output]:
    """The outputs of an answer with the binary extension. Raises ValueError or KeyError."""
    told, at, outputs = json.loads(content[:header_length]), header_length, []
    for each in told["outputs"]:
        size = (each.get("parameters") or {}).get("binary_data_size")
        data = each.get("data")
        if size is not None:
            data, at = _unpack(each["datatype"], content[at : at + size]), at + size
        outputs.append(Output(each["name"], each["datatype"], each["shape"], data))
    return outputs


def _unpack(datatype: str, raw: bytes) -> Sequence[Any]:
    if datatype == "BYTES":
        return list(_split_bytes(raw))
    if datatype == "BF16":
        # The upper half of a float.
        wide = b"".join(b"\0\0" + raw[at : at + 2] for at in range(0, len(raw) - 1, 2))
        return list(struct.unpack(f"<{len(wide) // 4}f", wide))
    if datatype not in _FORMATS:
        return [raw]
    kind = _FORMATS[datatype]
    try:
        return list(struct.unpack(f"<{len(raw) // struct.calcsize('<' + kind)}{kind}", raw))
    except struct.error as error:
        raise ValueError(str(error)) from None


def _split_bytes(raw: bytes) -> Iterator[str]:
    """Elements, each after its length: as text, which JSON has, too."""
    at = 0
    while at + 4 <= len(raw):
        length = int.from_bytes(raw[at : at + 4], "little")
        yield raw[at + 4 : at + 4 + length].decode("utf-8", "surrogateescape")
        at += 4 + length
