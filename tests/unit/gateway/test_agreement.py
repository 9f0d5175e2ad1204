"""Whether two answers to one request agree."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from forebay.gateway.agreement import Body, Difference, Tolerance, find_difference
from forebay.serving.values import to_raw

TOLERANCE = Tolerance()


def tensor(data: Any, *, name: str = "y", datatype: str = "FP32", shape: Any = (2,), **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data, **more}


def v2(*outputs: dict[str, Any], **names: Any) -> Body:
    return Body(content=json.dumps({"outputs": list(outputs), **names}).encode(), content_type="application/json")


def differ(told: Any, other: Any, tolerance: Tolerance = TOLERANCE) -> Difference | None:
    bodies = [each if isinstance(each, Body) else Body(content=json.dumps(each).encode()) for each in (told, other)]
    return find_difference(*bodies, tolerance)


@pytest.mark.parametrize(
    ("told", "other"),
    [
        (v2(tensor([0.25, 0.75])), v2(tensor([0.25, 0.7500001]))),
        (v2(tensor([1.0, 2.0]), id="a", model_version="1"), v2(tensor([1, 2]), id="b", model_version="2")),
        (v2(tensor([1.0]), tensor(["a"], name="z")), v2(tensor(["a"], name="z"), tensor([1.0]))),
        (v2(tensor([[1.0, 2.0]], shape=(1, 2))), v2(tensor([1.0, 2.0], shape=(1, 2)))),
        ({"predictions": [[0.1, 0.9]]}, {"predictions": [[0.1, 0.90001]]}),
        ({"predictions": [float("nan"), float("inf")]}, {"predictions": [float("nan"), float("inf")]}),
        ({"error": "no such input"}, {"error": "no such input"}),
        (Body(content=b"plain"), Body(content=b"plain")),
    ],
)
def test_what_agrees(told, other):
    assert differ(told, other) is None


@pytest.mark.parametrize(
    ("told", "other", "where"),
    [
        (v2(tensor([0.25, 0.75])), v2(tensor([0.25, 0.76])), "outputs.y.data[1]"),
        (v2(tensor([1, 2], datatype="INT64")), v2(tensor([1, 3], datatype="INT64")), "outputs.y.data[1]"),
        (v2(tensor(["cat"], datatype="BYTES")), v2(tensor(["dog"], datatype="BYTES")), "outputs.y.data[0]"),
        (v2(tensor([True], datatype="BOOL")), v2(tensor([1], datatype="BOOL")), "outputs.y.data[0]"),
        (v2(tensor([1.0])), v2(tensor([1.0], datatype="FP64")), "outputs.y.datatype"),
        (v2(tensor([1.0, 2.0], shape=(2,))), v2(tensor([1.0, 2.0], shape=(1, 2))), "outputs.y.shape"),
        (v2(tensor([1.0])), v2(tensor([1.0], name="z")), "outputs.y"),
        (v2(tensor([1.0])), v2(tensor([float("nan")])), "outputs.y.data[0]"),
        (v2(tensor([1.0])), v2(tensor([float("inf")])), "outputs.y.data[0]"),
        ({"predictions": ["cat"]}, {"predictions": ["dog"]}, "predictions[0]"),
        ({"predictions": [1]}, {"predictions": [1, 2]}, "predictions"),
        (Body(content=b"plain"), Body(content=b"other"), "the body"),
        ([1], {"a": 1}, "the answer"),
    ],
)
def test_what_differs(told, other, where):
    found = differ(told, other)
    assert found
    assert found.where == where


def test_a_tolerance():
    told, other = v2(tensor([100.0, 0.0])), v2(tensor([109.0, 0.4]))
    assert differ(told, other, Tolerance(relative=0.1, absolute=0.5)) is None
    assert differ(told, other, Tolerance(relative=0.05, absolute=0.5))
    assert differ(told, other, Tolerance(relative=0.1, absolute=0.1))


def test_what_is_shown_is_short_and_printable():
    found = differ({"text": "a" * 1000 + "\n"}, {"text": "\x1b[31mb"})
    assert found
    assert len(found.told) <= 61
    assert found.other.isprintable()


ARRAYS = [
    np.array([0.25, 0.5], dtype=np.float16), np.array([0.25, 0.5], dtype=np.float32),
    np.array([0.25, 0.5], dtype=np.float64), np.array([1, -2], dtype=np.int64), np.array([1, 2], dtype=np.uint8),
    np.array([True, False]), np.array([b"cat", b"a dog"], dtype=np.object_),
]  # fmt: skip
_DATATYPES = ("FP16", "FP32", "FP64", "INT64", "UINT8", "BOOL", "BYTES")


def encode_binary(array: Any, datatype: str) -> Body:
    raw = to_raw(array)
    told = {"name": "y", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"model_name": "m", "outputs": [told]}).encode()
    return Body(content=head + raw, content_type="application/octet-stream", header_length=len(head))


def encode_grpc(array: Any, datatype: str) -> Body:
    output = service_pb2.ModelInferResponse.InferOutputTensor(name="y", datatype=datatype, shape=[2])
    raw = to_raw(array)
    message = service_pb2.ModelInferResponse(model_name="m", id="1", outputs=[output], raw_output_contents=[raw])
    content = message.SerializeToString()
    return Body(content=struct.pack(">BI", 0, len(content)) + content, content_type="application/grpc")


@pytest.mark.parametrize("encode", [encode_binary, encode_grpc])
@pytest.mark.parametrize(("array", "datatype"), list(zip(ARRAYS, _DATATYPES, strict=True)), ids=_DATATYPES)
def test_tensors_in_binary_and_over_grpc(encode, array, datatype):
    told, other = encode(array, datatype), encode(array[::-1], datatype)
    found = find_difference(told, other, TOLERANCE)
    assert found
    assert found.where == "outputs.y.data[0]"
    # As bytes they differ as well.
    renamed = Body(
        content=told.content.replace(b"m", b"n", 1), content_type=told.content_type, header_length=told.header_length
    )
    if encode is encode_grpc:
        assert find_difference(told, renamed, TOLERANCE) is None


def test_typed_contents_and_answers_of_a_stream():
    def encode(*values: float) -> Body:
        frames = b""
        for value in values:
            output = service_pb2.ModelInferResponse.InferOutputTensor(name=f"y{value:.0f}", datatype="FP32", shape=[1])
            output.contents.fp32_contents.append(value)
            content = service_pb2.ModelInferResponse(outputs=[output]).SerializeToString()
            frames += struct.pack(">BI", 0, len(content)) + content
        return Body(content=frames, content_type="application/grpc")

    assert find_difference(encode(1.0, 2.0), encode(1.0, 2.00001), TOLERANCE) is None
    assert find_difference(encode(1.0, 2.0), encode(1.0, 2.1), TOLERANCE)


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from(["application/grpc", "text/plain", ""]))
def test_any_bytes_are_compared_without_an_error(told, other, content_type):
    for length in (None, 5):
        bodies = [Body(content=each, content_type=content_type, header_length=length) for each in (told, other)]
        find_difference(*bodies, TOLERANCE)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_any_answer_agrees_with_itself(told):
    spaced = Body(content=json.dumps(told, indent=1).encode())
    assert find_difference(spaced, Body(content=json.dumps(told).encode()), TOLERANCE) is None


@pytest.mark.parametrize(
    ("told", "other"),
    [
        (Body(content=b'{"a": 1.5}'), Body(content=b'{"a": 1' + b"0" * 400 + b"}")),
        (Body(content=b'{"outputs":["x"]}', header_length=17), Body(content=b'{"outputs":[]}', header_length=14)),
        (Body(content=b"[" * 20_000 + b"]" * 20_000), Body(content=b"[" * 20_001 + b"]" * 20_001)),
        (Body(content=b"\x01\x00\x00", content_type="application/grpc"), Body(content=b"\x00")),
    ],
)
def test_what_cant_be_read_differs_and_hurts_nobody(told, other):
    found = find_difference(told, other, TOLERANCE)
    assert found is not None
    assert found.where == "the body"


def test_what_a_model_answers_is_no_command_to_a_terminal():
    name = "\u001b]0;x\u0007" + "y" * 1000
    found = differ({name: 1}, {name: 2})
    assert found is not None
    assert (found.where.isprintable(), len(found.where) < 100) == (True, True)


def test_a_deep_tensor_takes_no_longer_than_a_flat_one():
    deep = "[" * 500 + "1.5" + "]" * 500
    told, other = (
        Body(content=f'{{"outputs":[{{"name":"y","datatype":"FP32","shape":[1],"data":{each}}}]}}'.encode())
        for each in (deep, "[1.5]")
    )
    assert find_difference(told, other, TOLERANCE) is None
