"""What a transformer sends and reads, against what its model takes and gives."""

import numpy as np
import pytest

from forebay.serving.fit import describe_misfit, find_disagreement, find_misfits
from forebay.serving.tensors import Tensor

TAKEN = (Tensor("image", "FP32", [-1, 64]), Tensor("size", "INT64", [-1, 2]))


@pytest.mark.parametrize(
    ("name", "array", "fits"),
    [
        ("image", np.zeros((3, 64), np.float32), True),
        ("image", np.zeros((3, 63), np.float32), False),
        ("image", np.zeros((64,), np.float32), False),
        ("image", np.zeros((3, 64), np.float64), False),
        ("picture", np.zeros((3, 64), np.float32), False),
    ],
)
def test_tensors_that_were_sent(name: str, array: np.ndarray, fits: bool) -> None:
    assert find_misfits({name: array}, TAKEN) == ([] if fits else [name])
    assert not find_misfits({name: array}, ()), "a model that says nothing may take it"


def test_both_are_named() -> None:
    told = describe_misfit("digits", {"image": np.zeros((1, 63), np.float32)}, TAKEN[:1])
    assert "made 'image' FP32 [1, 63], and model digits takes 'image' FP32 [-1, 64]" in told


@pytest.mark.parametrize(
    ("declared", "fits"),
    [
        ([Tensor("image", "FP32", [1, 64])], True),
        ([Tensor("image", "FP32", [-1, -1])], True),
        ([Tensor("image", "FP32", [-1, 8, 8])], False),
        ([Tensor("image", "UINT8", [-1, 64])], False),
        ([Tensor("picture", "FP32", [-1, 64])], False),
        ([], True),
    ],
)
def test_what_a_transformer_declares(declared: list[Tensor], fits: bool) -> None:
    told = find_disagreement("digits", declared, TAKEN, outputs=False)
    assert (told == "") is fits
    assert fits or "the transformer's model_inputs are" in told
    assert not find_disagreement("digits", declared, (), outputs=True)
