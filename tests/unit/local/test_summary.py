"""The calls that are shown: what is pasted must work."""

import ast
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from forebay.local.run_folder import Record
from forebay.local.summary import build_addresses, build_examples, show_summary
from forebay.serving.v2 import decode_request

DATATYPES = ["BOOL", "UINT8", "INT64", "FP16", "FP32", "BF16", "BYTES"]


def record(entry: str = "predictor", model: str = "digits") -> Record:
    return Record(
        name="default/digits", url="http://127.0.0.1:8080/default/digits", grpc="127.0.0.1:8080", metrics="m",
        model=model, entry=entry, pid=1,
    )  # fmt: skip


def tensor(name: str, shape: list[int], datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype}


@given(
    st.lists(
        st.builds(tensor, st.text(min_size=1), st.lists(st.integers(-1, 4), max_size=3), st.sampled_from(DATATYPES)),
        max_size=3,
    )
)
def test_whatever_the_model_declares_it_can_be_pasted(inputs):
    curl, python = build_examples(record(), {"inputs": inputs})
    ast.parse(python)
    words = shlex.split(curl)
    assert words[0] == "curl"
    if "-d" in words:
        body = words[words.index("-d") + 1]
        assert [each["name"] for each in json.loads(body)["inputs"]] == [each["name"] for each in inputs]
    names = [node.value for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Constant)]
    assert all(each["name"] in names for each in inputs)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_the_body_is_one_that_a_server_takes(datatype):
    curl, _ = build_examples(record(), {"inputs": [tensor("x", [-1, 4], datatype)]})
    words = shlex.split(curl)
    assert words[1] == "http://127.0.0.1:8080/default/digits/v2/models/digits/infer"
    decoded = decode_request(words[words.index("-d") + 1].encode())
    assert decoded.inputs["x"].shape == (1, 4)


def test_a_body_that_is_too_long_to_paste_is_not_shown():
    curl, python = build_examples(record(), {"inputs": [tensor("x", [-1, 3, 100_000, 100_000])]})
    assert "-d" not in shlex.split(curl)
    assert len(curl) < 200
    assert "[1, 3, 100000, 100000]" in python


def test_a_transformer_takes_what_people_have():
    curl, python = build_examples(record("transformer"), {})
    assert "@picture.png" in shlex.split(curl)
    ast.parse(python)
    assert "http://127.0.0.1:8080/default/digits/predict" in python


def test_nothing_is_known_of_the_model():
    curl, python = build_examples(record(), {})
    ast.parse(python)
    assert shlex.split(curl)[0] == "curl"


def test_a_path_is_whole_in_a_narrow_terminal():
    logs = Path("/", *["long-folder-name"] * 8, "logs")
    output = io.StringIO()
    show_summary(Console(file=output, width=50), build_addresses(record(), logs=logs))
    assert str(logs) in "".join(line.strip() for line in output.getvalue().splitlines())
