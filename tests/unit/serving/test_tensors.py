import numpy as np
import pytest

from forebay.serving import BadRequest, Tensor
from forebay.serving.errors import ModelFault
from forebay.serving.tensors import check_inputs, check_outputs

IMAGE = Tensor("image", "FP32", [-1, 64])
SCORES = Tensor("scores", "FP32", [-1, 10])


@pytest.mark.parametrize(
    "arguments", [("", "FP32", [1]), ("x", "float", [1]), ("x", "FP32", [-2]), ("x", "FP32", 3), ("x", "FP32", ["1"])]
)
def test_declarations_that_make_no_sense(arguments):
    with pytest.raises(ValueError, match="tensor"):
        Tensor(*arguments)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'image' is missing: expected 'image' FP32 [-1, 64]"),
        ({"image": np.zeros((1, 64))}, "input 'image': expected FP32 [-1, 64], got FP64 [1, 64]"),
        ({"image": np.zeros((1, 63), np.float32)}, "got FP32 [1, 63]"),
        ({"image": np.zeros(64, np.float32)}, "got FP32 [64]"),
        ({"image": np.zeros((1, 64), np.float32), "y": np.zeros(1)}, "unknown input 'y'"),
    ],
)
def test_inputs_that_were_not_declared(inputs, message):
    with pytest.raises(BadRequest) as caught:
        check_inputs(inputs, [IMAGE])
    assert message in caught.value.message


def test_optional_inputs_may_be_left_out():
    check_inputs({"image": np.zeros((2, 64), np.float32)}, [IMAGE, Tensor("threshold", "FP32", [1], optional=True)])


def test_outputs_are_brought_in_line():
    scores = check_outputs([[0.5] * 10], [SCORES], "predict")["scores"]
    assert scores.dtype == np.float32
    assert check_outputs({"label": ["a", "b"]}, (), "predict")["label"].dtype == object


@pytest.mark.parametrize(
    "result",
    [None, {}, {"scores": np.zeros((1, 9))}, {"scores": np.zeros((1, 10), complex)}, {"scores": [[1], [2, 3]]}],
)
def test_outputs_that_break_the_declaration(result):
    with pytest.raises(ModelFault):
        check_outputs(result, [SCORES], "predict")
