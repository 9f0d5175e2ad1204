"""The v2 protocol over REST: JSON, with tensors as JSON or (the binary tensor data extension) as bytes behind it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from forebay.serving.errors import BadRequest, quote
from forebay.serving.tensors import Array, Arrays, check_shape, datatype_of, shape_array
from forebay.serving.values import from_json, from_raw, to_json, to_raw

HEADER_LENGTH = "inference-header-content-length"
UNSUPPORTED = {
    "shared_memory_region": "shared memory is not supported: send the data itself",
    "classification": "the classification extension is not supported: ask for the scores",
}


@dataclass(frozen=True)
class InferRequest:
    """A v2 request, decoded. `outputs` says which are wanted, and whether in binary; empty means all."""

    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Arrays = field(default_factory=dict)
    outputs: Mapping[str, bool] = field(default_factory=dict)
    binary: bool = False
    """Whether outputs that are not listed in `outputs` are sent in binary."""


def decode_request(body: bytearray | bytes, header_length: str | None = None) -> InferRequest:
    """Decode the body of an infer request; BadRequest names what is wrong with it.

    `header_length` is the value of Inference-Header-Content-Length: the JSON's bytes, before those of the tensors.
    Arrays share the body's memory where they can.
    """
    length = _header_length(header_length, len(body))
    document = load_object(bytes(memoryview(body)[:length]))
    parameters = _object(document.get("parameters", {}), "parameters")
    rest = memoryview(body)[length:]
    inputs: Arrays = {}
    for entry in _objects(document.get("inputs"), "inputs"):
        name = _name(entry, "inputs")
        if name in inputs:
            raise BadRequest(f"input {quote(name)} is given twice")
        inputs[name], used = _decode_input(name, entry, rest)
        rest = rest[used:]
    if rest.nbytes:
        raise BadRequest(
            f"{rest.nbytes} bytes follow the last input's data: check binary_data_size and {HEADER_LENGTH}"
        )
    outputs = _decode_outputs(document.get("outputs", []))
    request_id = document.get("id", "")
    if not isinstance(request_id, str):
        raise BadRequest(f"id must be a string, not {quote(request_id)}")
    return InferRequest(request_id, parameters, inputs, outputs, parameters.get("binary_data_output") is True)


def _header_length(value: str | None, total: int) -> int:
    if value is None:
        return total
    if not (value.isascii() and value.isdigit() and len(value) < 12 and int(value) <= total):
        raise BadRequest(f"{HEADER_LENGTH} must be a number of bytes up to the body's {total}, not {quote(value)}")
    return int(value)


def load_json(text: bytes | bytearray) -> Any:
    """A JSON value; BadRequest where it is none, or holds NaN or Infinity, which JSON does not have."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"the body holds {name}, which JSON does not have: send such a tensor as binary data")


def load_object(text: bytes | bytearray) -> dict[str, Any]:
    """A JSON object; BadRequest where it is something else."""
    return _object(load_json(text), "the body")


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{where} must be a JSON object, not {quote(value)}")
    return value


def _objects(value: object, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise BadRequest(f"{where} must be a list of tensors, not {quote(value)}")
    return [_object(item, f"each of {where}") for item in value]


def _name(entry: Mapping[str, Any], where: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise BadRequest(f"each of {where} needs a name that is a string, not {quote(name)}")
    return name


def _decode_input(name: str, entry: Mapping[str, Any], rest: memoryview) -> tuple[Array, int]:
    """One input, and how many bytes of the rest it took."""
    parameters = _object(entry.get("parameters", {}), f"input {quote(name)}: parameters")
    check_supported(f"input {quote(name)}", parameters)
    datatype = entry.get("datatype", "")
    shape = check_shape(name, entry.get("shape"))
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in entry:
            raise BadRequest(f"input {quote(name)} has neither data nor binary_data_size")
        return shape_array(name, from_json(name, datatype, entry["data"]), shape), 0
    if "data" in entry:
        raise BadRequest(f"input {quote(name)} has both data and binary_data_size: send one of them")
    if type(size) is not int or not 0 <= size <= rest.nbytes:
        raise BadRequest(f"input {quote(name)}: binary_data_size is {quote(size)}, but {rest.nbytes} bytes are left")
    return shape_array(name, from_raw(name, datatype, rest[:size], math.prod(shape)), shape), size


def _decode_outputs(value: object) -> dict[str, bool]:
    outputs = {}
    for entry in _objects(value, "outputs"):
        name = _name(entry, "outputs")
        parameters = _object(entry.get("parameters", {}), f"output {quote(name)}: parameters")
        check_supported(f"output {quote(name)}", parameters)
        outputs[name] = parameters.get("binary_data") is True
    return outputs


def check_supported(where: str, parameters: Mapping[str, Any]) -> None:
    """BadRequest for what the protocol's other extensions ask of us."""
    for parameter, message in UNSUPPORTED.items():
        if parameter in parameters:
            raise BadRequest(f"{where}: {message}")


def select_outputs(outputs: Arrays, wanted: Sequence[str] | Mapping[str, bool]) -> Arrays:
    """The outputs that were asked for, all when none is named; BadRequest for one that there is not."""
    for name in wanted:
        if name not in outputs:
            raise BadRequest(f"unknown output {quote(name)}: there are {', '.join(sorted(outputs))}")
    return {name: outputs[name] for name in wanted} if wanted else outputs


def encode_response(model: str, request: InferRequest, outputs: Arrays) -> tuple[list[bytes], int | None]:
    """The body of an answer, in pieces, and the length of its JSON if bytes follow it."""
    entries: list[dict[str, Any]] = []
    raws: list[bytes] = []
    for name, array in select_outputs(outputs, request.outputs).items():
        entry: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if request.outputs.get(name, request.binary):
            raws.append(to_raw(array))
            entry["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            entry["data"] = to_json(name, array)
        entries.append(entry)
    document = {"model_name": model, "model_version": "1", "outputs": entries}
    if request.id:
        document["id"] = request.id
    header = json.dumps(document, allow_nan=False).encode()
    return [header, *raws], len(header) if raws else None
