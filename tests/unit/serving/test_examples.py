import json
from pathlib import Path

import numpy as np
import pytest

from forebay.serving import Tensor
from forebay.serving.example import describe_example
from forebay.serving.script import Script
from forebay.serving.source import ScriptError
from forebay.serving.v2 import decode_request


def script(path: Path, example, *inputs: Tensor) -> Script:
    return Script(path / "script.py", "predictor", object, {}, inputs, (), example)


def test_zeros_of_what_is_declared(tmp_path):
    tensors = Tensor("x", "FP32", [-1, 2]), Tensor("n", "BYTES", [1]), Tensor("o", "FP32", [1], optional=True)
    found = describe_example(script(tmp_path, None, *tensors))
    inputs = decode_request(json.dumps(found["body"]).encode()).inputs
    assert found["made"]
    assert inputs["x"].tolist() == [[0, 0]]
    assert inputs["n"].tolist() == [b""]
    assert "o" not in inputs


def test_what_the_class_gives(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    assert describe_example(script(tmp_path, {"x": np.ones(2)}))["body"]["inputs"][0]["data"] == [1, 1]
    assert describe_example(script(tmp_path, "a.png"))["content_type"] == "image/png"
    assert describe_example(script(tmp_path, "no file"))["value"] == "no file"
    assert describe_example(script(tmp_path, {"rows": [1]}))["value"] == {"rows": [1]}
    assert describe_example(script(tmp_path, None)) == {"kind": "none"}
    with pytest.raises(ScriptError, match="no such file"):
        describe_example(script(tmp_path, Path("b.png")))
