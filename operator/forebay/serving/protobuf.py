"""The v2 protocol over gRPC: messages to and from arrays, for the server and for a transformer's calls alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from forebay.serving.errors import BadRequest, quote
from forebay.serving.tensors import Array, Arrays, Tensor, check_shape, datatype_of, numpy_dtype, shape_array
from forebay.serving.v2 import InferRequest, check_supported
from forebay.serving.values import from_raw, to_raw

_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def decode_request(message: Any) -> InferRequest:
    """A ModelInferRequest, decoded; BadRequest names what is wrong with it."""
    parameters = decode_parameters(message.parameters)
    outputs = {}
    for output in message.outputs:
        check_supported(f"output {quote(output.name)}", output.parameters)
        outputs[output.name] = True
    inputs = decode_tensors(message.inputs, message.raw_input_contents)
    return InferRequest(message.id, parameters, inputs, outputs, binary=True)


def decode_tensors(tensors: Sequence[Any], raws: Sequence[bytes]) -> Arrays:
    """The tensors of a request or an answer: raw bytes for each of them, or typed contents in each."""
    if raws and len(raws) != len(tensors):
        raise BadRequest(f"{len(tensors)} tensors came with {len(raws)} raw contents: send one for each, or none")
    arrays: Arrays = {}
    for index, tensor in enumerate(tensors):
        if not tensor.name or tensor.name in arrays:
            raise BadRequest(f"input {quote(tensor.name)} is given twice, or has no name")
        check_supported(f"input {quote(tensor.name)}", tensor.parameters)
        shape = check_shape(tensor.name, list(tensor.shape))
        if raws:
            flat = from_raw(tensor.name, tensor.datatype, raws[index], int(np.prod(shape, dtype=object)))
        else:
            flat = _typed_contents(tensor)
        arrays[tensor.name] = shape_array(tensor.name, flat, shape)
    return arrays


def _typed_contents(tensor: Any) -> Array:
    dtype = numpy_dtype(tensor.datatype, tensor.name)
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise BadRequest(f"input {quote(tensor.name)}: {tensor.datatype} can only be sent in raw_input_contents")
    if any(used.name != field for used, _ in tensor.contents.ListFields()):
        raise BadRequest(f"input {quote(tensor.name)}: {tensor.datatype} belongs into contents.{field}")
    try:
        return np.array(list(getattr(tensor.contents, field)), dtype=dtype)
    except OverflowError as error:
        raise BadRequest(f"input {quote(tensor.name)}: a value is out of range for {tensor.datatype}") from error


def decode_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as plain values."""
    plain = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        plain[name] = getattr(parameter, choice) if choice else None
    return plain


def encode_request(model: str, request_id: str, inputs: Arrays, parameters: Mapping[str, Any]) -> Any:
    """A ModelInferRequest for a predictor."""
    message = pb.ModelInferRequest(model_name=model, id=request_id)
    for name, value in parameters.items():
        _set_parameter(message.parameters[name], value)
    _add_tensors(message.inputs, message.raw_input_contents, inputs)
    return message


def encode_response(model: str, request_id: str, outputs: Arrays) -> Any:
    """A ModelInferResponse; outputs go as raw bytes, as Triton sends them."""
    message = pb.ModelInferResponse(model_name=model, model_version="1", id=request_id)
    _add_tensors(message.outputs, message.raw_output_contents, outputs)
    return message


def _add_tensors(tensors: Any, raws: Any, arrays: Arrays) -> None:
    for name, array in arrays.items():
        tensors.add(name=name, datatype=datatype_of(array), shape=array.shape)
        raws.append(to_raw(array))


def _set_parameter(parameter: Any, value: object) -> None:
    fields: dict[type, str] = {bool: "bool_param", int: "int64_param", float: "double_param"}
    field = fields.get(type(value), "string_param")
    setattr(parameter, field, value if type(value) in fields else str(value))


def decode_metadata(tensors: Sequence[Any]) -> tuple[Tensor, ...]:
    """Inputs or outputs of a model, from its metadata."""
    return tuple(Tensor(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in tensors)
