import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.serving.errors import BadRequest
from forebay.serving.rows import decode_rows, dump_json, encode_rows, rows_of
from forebay.serving.tensors import Tensor

ONE = (Tensor("x", "FP32", [-1, 2]),)
TWO = (Tensor("x", "FP32", [-1]), Tensor("n", "BYTES", [-1]))


def test_rows_of_one_input():
    assert decode_rows([[1, 2], [3, 4]], ONE)["x"].dtype == np.float32


def test_rows_of_objects_and_columns_mean_the_same():
    by_row = decode_rows([{"x": 1, "n": "a"}, {"x": 2, "n": "b"}], TWO)
    by_column = decode_rows({"x": [1, 2], "n": ["a", "b"]}, TWO)
    assert by_row["n"].tolist() == by_column["n"].tolist() == [b"a", b"b"]
    assert by_row["x"].tolist() == by_column["x"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("rows", "datatype"),
    [([1, 2], np.int64), ([1, 2.5], np.float64), ([True], bool), (["a"], object), ([], np.float64)],
)
def test_datatypes_follow_from_values_where_nothing_is_declared(rows, datatype):
    assert decode_rows(rows, ())["input"].dtype == datatype


@pytest.mark.parametrize(
    ("rows", "declared"), [([1], TWO), ([{"x": 1}, {"y": 1}], TWO), (5, ONE), ([[1], [2, 3]], ONE), ([None], ())]
)
def test_wrong_rows(rows, declared):
    with pytest.raises(BadRequest):
        decode_rows(rows, declared)


def test_answers_by_row_and_by_column():
    outputs = {"a": np.array([1, 2]), "b": np.array([b"x", b"y"], np.object_)}
    assert encode_rows(outputs, "predictions") == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert encode_rows(outputs, "outputs") == {"a": [1, 2], "b": ["x", "y"]}
    assert encode_rows({"a": np.array([[1]])}, "predictions") == [[1]]


def test_bodies():
    assert rows_of({"instances": [1]}) == ([1], "predictions")
    assert rows_of({"inputs": {"x": [1]}}) == ({"x": [1]}, "outputs")
    for body in ({}, [], None, {"instances": [], "inputs": []}):
        with pytest.raises(BadRequest, match="instances"):
            rows_of(body)


def test_dump_takes_numpy_and_writes_strict_json():
    value = {"a": np.array([1.0, np.nan]), "b": np.float32(2), "c": np.int64(3), "d": b"x", "e": float("inf")}
    assert json.loads(dump_json(value)) == {"a": [1.0, None], "b": 2.0, "c": 3, "d": "x", "e": None}
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        dump_json({"a": object()})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    ),
    st.sampled_from([(), ONE, TWO]),
)
def test_any_json_gives_arrays_or_bad_requests(rows, declared):
    with contextlib.suppress(BadRequest):
        assert all(isinstance(array, np.ndarray) for array in decode_rows(rows, declared).values())
