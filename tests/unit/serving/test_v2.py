"""The v2 codec: what is encoded can be decoded, and nothing that a client sends gives more than a BadRequest."""

import contextlib
import json
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from forebay.serving.errors import BadRequest
from forebay.serving.tensors import DATATYPES, numpy_dtype
from forebay.serving.v2 import InferRequest, decode_request, encode_response

NUMERIC = [datatype for datatype in DATATYPES if datatype not in ("BYTES", "BF16")]
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw, *, text: bool = False):
    datatype = draw(st.sampled_from(DATATYPES))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        element = st.text().map(str.encode) if text else st.binary(max_size=20)
        return draw(npst.arrays(np.object_, shape, elements=element, fill=st.nothing()))
    if datatype == "BF16":
        elements = st.floats(-100, 100, width=16)
        return draw(npst.arrays(np.float32, shape, elements=elements)).astype(ml_dtypes.bfloat16)
    options = {"allow_nan": False, "allow_infinity": False} if text and datatype.startswith("FP") else {}
    return draw(npst.arrays(numpy_dtype(datatype), shape, elements=options or None))


def as_request(array, *, binary: bool) -> InferRequest:
    pieces, header_length = encode_response("m", InferRequest(id="7", binary=binary), {"x": array})
    length = header_length or len(pieces[0])
    document = json.loads(pieces[0])
    document["inputs"] = document.pop("outputs")
    header = json.dumps(document).encode()
    assert length == len(pieces[0])
    return decode_request(bytearray(header + b"".join(pieces[1:])), str(len(header)))


@given(arrays())
def test_binary_round_trip(array):
    decoded = as_request(array, binary=True)
    back = decoded.inputs["x"]
    assert decoded.id == "7"
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes() if array.dtype.kind != "O" else back.tolist() == array.tolist()


@given(arrays(text=True))
def test_json_round_trip(array):
    back = as_request(array, binary=False).inputs["x"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_decoded_arrays_can_be_written_to():
    back = as_request(np.zeros(5, np.float32), binary=True).inputs["x"]
    back += 1
    assert back.flags.aligned


@given(st.binary(max_size=200), st.one_of(st.none(), st.text(max_size=5), st.integers(-5, 300).map(str)))
@example(b"[" * 100_000, None)
@example(b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [NaN]}]}', None)
@example(b'{"inputs": [{"name": "\\ud800", "datatype": "BYTES", "shape": [1], "data": ["\\ud800"]}]}', None)
@example(b"1" * 5000, None)
def test_arbitrary_bytes_give_only_bad_requests(body, header_length):
    with pytest.raises(BadRequest):
        decode_request(body, header_length)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(2**70) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=3) | JSON,
        "datatype": st.sampled_from(DATATYPES) | JSON,
        "shape": st.lists(st.integers(-2, 4) | st.just(2**62) | st.just(2**31 - 1), max_size=5) | JSON,
        "data": JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 20) | JSON}) | JSON,
    },
)
DOCUMENT = st.fixed_dictionaries(
    {"inputs": st.lists(ENTRY, max_size=3) | JSON},
    optional={"id": JSON, "parameters": JSON, "outputs": st.lists(ENTRY, max_size=2) | JSON},
)


@settings(max_examples=400)
@given(DOCUMENT, st.binary(max_size=40))
def test_near_misses_give_arrays_or_bad_requests(document, rest):
    header = json.dumps(document).encode()
    with contextlib.suppress(BadRequest):
        decoded = decode_request(header + rest, str(len(header)))
        assert all(isinstance(array, np.ndarray) for array in decoded.inputs.values())


def infer(**entry) -> InferRequest:
    return decode_request(json.dumps({"inputs": [{"name": "x", **entry}]}).encode())


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"datatype": "FP31", "shape": [1], "data": [1]}, "datatype 'FP31' must be one of"),
        ({"datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3]}, "shape [2, 2] has 4 elements, but 3 came"),
        ({"datatype": "FP32", "shape": [-1], "data": [1]}, "integers from 0"),
        ({"datatype": "FP32", "shape": [2**40], "data": [1]}, "integers from 0"),
        ({"datatype": "FP32", "shape": [1] * 40, "data": [1]}, "at most 32"),
        ({"datatype": "FP32", "shape": [2**31 - 1] * 8, "data": [1]}, "but 1 came"),
        ({"datatype": "FP32", "shape": [0, 2**31 - 1, 2**31 - 1], "data": []}, "too big"),
        ({"datatype": "FP32", "shape": [3], "data": [[1, 2], [3]]}, "ragged"),
        ({"datatype": "INT64", "shape": [1], "data": [1.5]}, "INT64 values, but holds float"),
        ({"datatype": "INT8", "shape": [1], "data": [300]}, "out of range for INT8"),
        ({"datatype": "UINT8", "shape": [1], "data": [-1]}, "out of range for UINT8"),
        ({"datatype": "FP16", "shape": [1], "data": [1e9]}, "out of range for FP16"),
        ({"datatype": "BOOL", "shape": [1], "data": [1]}, "BOOL values, but holds int"),
        ({"datatype": "BYTES", "shape": [1], "data": [1]}, "BYTES values, but holds int"),
        ({"datatype": "FP32", "shape": [1], "data": ["1"]}, "holds str"),
        ({"datatype": "FP32", "shape": [1]}, "neither data nor binary_data_size"),
        ({"datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}, "0 bytes are left"),
        ({"datatype": "FP32", "shape": [1], "parameters": {"shared_memory_region": "r"}}, "shared memory"),
    ],
)
def test_messages_name_the_input_and_the_fault(entry, message):
    with pytest.raises(BadRequest) as caught:
        infer(**entry)
    assert message in caught.value.message
    assert "'x'" in caught.value.message


def test_wrong_byte_counts():
    document = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 7}}
    header = json.dumps({"inputs": [document]}).encode()
    with pytest.raises(BadRequest, match="2 elements of FP32 are 8 bytes, got 7"):
        decode_request(header + b"1234567", str(len(header)))
    document["parameters"]["binary_data_size"] = 8
    header = json.dumps({"inputs": [document]}).encode()
    with pytest.raises(BadRequest, match="4 bytes follow the last"):
        decode_request(header + bytes(12), str(len(header)))


@pytest.mark.parametrize("raw", [struct.pack("<I", 9) + b"abc", b"abc", struct.pack("<I", 2**32 - 1), bytes(8)])
def test_bytes_whose_lengths_lie(raw):
    entry = {"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    header = json.dumps({"inputs": [entry]}).encode()
    with pytest.raises(BadRequest, match="do not hold 1 BYTES"):
        decode_request(header + raw, str(len(header)))


def test_json_has_no_nan_so_it_becomes_null():
    pieces, _ = encode_response("m", InferRequest(), {"x": np.array([1, np.nan, np.inf], np.float32)})
    assert json.loads(pieces[0])["outputs"][0]["data"] == [1, None, None]


def test_only_the_outputs_that_were_asked_for():
    outputs = {"a": np.zeros(1), "b": np.ones(1)}
    pieces, header_length = encode_response("m", InferRequest(outputs={"b": True}), outputs)
    assert [entry["name"] for entry in json.loads(pieces[0])["outputs"]] == ["b"]
    assert header_length == len(pieces[0])
    with pytest.raises(BadRequest, match="unknown output 'c'"):
        encode_response("m", InferRequest(outputs={"c": False}), outputs)


def test_bytes_that_are_no_text_need_binary():
    with pytest.raises(BadRequest, match="ask for binary"):
        encode_response("m", InferRequest(), {"x": np.array([b"\xff"], np.object_)})
