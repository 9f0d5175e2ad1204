import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tritonclient.grpc import service_pb2 as pb

from forebay.serving.errors import BadRequest
from forebay.serving.protobuf import decode_request, decode_tensors, encode_request, encode_response
from forebay.serving.tensors import DATATYPES, numpy_dtype

DTYPES = [numpy_dtype(datatype) for datatype in DATATYPES if datatype not in ("BYTES", "BF16")]


@given(st.sampled_from(DTYPES).flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0))))
def test_raw_round_trip(array):
    answer = encode_response("m", "1", {"y": array})
    back = decode_tensors(answer.outputs, answer.raw_output_contents)["y"]
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_parameters_round_trip():
    parameters = {"a": True, "b": 3, "c": "x", "d": 0.5}
    request = encode_request("m", "9", {"x": np.array([b"a\0"], np.object_)}, parameters)
    decoded = decode_request(request)
    assert decoded.parameters == parameters
    assert decoded.inputs["x"].tolist() == [b"a\0"]


def test_typed_contents():
    request = pb.ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="x", datatype="INT8", shape=[2])
    tensor.contents.int_contents.extend([1, -2])
    assert decode_request(request).inputs["x"].tolist() == [1, -2]
    tensor.contents.int_contents[0] = 300
    with pytest.raises(BadRequest, match="out of range for INT8"):
        decode_request(request)
    tensor.datatype = "FP32"
    with pytest.raises(BadRequest, match=r"contents\.fp32_contents"):
        decode_request(request)
    tensor.datatype = "BF16"
    with pytest.raises(BadRequest, match="raw_input_contents"):
        decode_request(request)


@given(
    st.sampled_from(DATATYPES) | st.text(max_size=4),
    st.lists(st.integers(-2, 4) | st.just(2**62), max_size=5),
    st.lists(st.binary(max_size=40), max_size=2),
)
def test_near_misses_give_arrays_or_bad_requests(datatype, shape, raws):
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=raws)
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    with contextlib.suppress(BadRequest):
        assert decode_request(request).inputs["x"].shape == tuple(shape)
