"""`forebay check`: what it says of good scripts and bad ones."""

import io
import os
from pathlib import Path
from textwrap import dedent

import pytest
from rich.console import Console

from forebay.local.check import check_script

PREDICTOR = """
    import numpy as np
    from forebay.serving import Tensor
    class Digits:
        inputs = [Tensor("image", "FP32", [-1, 4])]
        outputs = [Tensor("scores", "FP32", [-1, 2])]
        def predict(self, inputs):
            return {body}
"""
TRANSFORMER = """
    import numpy as np
    class T:
        example = {example}
        def preprocess(self, payload):
            rows = [[len(payload)]] if isinstance(payload, bytes) else payload["rows"]
            return {{"image": np.asarray(rows, np.float32)}}
        def postprocess(self, outputs):
            return outputs
"""


@pytest.fixture
def check(tmp_path: Path):
    def run(text: str, **options) -> tuple[bool, str]:
        path = tmp_path / "script.py"
        path.write_text(dedent(text))
        output = io.StringIO()
        good = check_script(path, console=Console(file=output, width=200), timeout_s=30, **options)
        return good, output.getvalue()

    return run


def test_a_good_predictor(check):
    good, text = check(PREDICTOR.format(body='inputs["image"][:, :2] + 1'))
    assert good, text
    assert "has one predictor class: Digits" in text
    assert "answers over REST: scores FP32 [1, 2] = [1.0, 1.0]" in text
    assert "answers over gRPC: scores FP32 [1, 2] = [1.0, 1.0]" in text
    assert "MiB" in text


@pytest.mark.parametrize("body", ['inputs["image"][:, :2] / 0', '[["a", "b"]]', "1 / 0"])
def test_answers_that_are_odd_or_wrong(check, body):
    good, text = check(PREDICTOR.format(body=body))
    assert good == body.startswith("inputs")
    assert "✓ answers over REST" in text if good else "✗ answers over REST" in text
    message = {"[": "was declared as FP32", "1": "ZeroDivisionError", "i": "null"}[body[0]]
    assert message in text


def test_a_transformer_without_a_predictor(check, tmp_path):
    good, text = check(TRANSFORMER.format(example={"rows": [[1, 2]]}))
    assert good, text
    assert "it would send image FP32 [1, 2] = [1.0, 2.0]" in text
    (tmp_path / "a.png").write_bytes(b"12345")
    good, text = check(TRANSFORMER.format(example='"a.png"'))
    assert good, text
    assert "it would send image FP32 [1, 1] = [5.0]" in text


def test_a_preprocess_that_fails(check):
    good, text = check(TRANSFORMER.format(example={"no": "rows"}))
    assert not good
    assert "KeyError: 'rows'" in text


def test_no_example_says_how_to_give_one(check):
    good, text = check("class A:\n    def predict(self, inputs): return inputs")
    assert good
    assert "no request was sent" in text
    assert "`example`" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class A\n    pass", "script.py:1: expected ':'"),
        ("import cv9, cv10\nclass A:\n    def predict(self, i): pass", " cv10 cv9"),
        ("x = 1\0", "script.py is no Python source: "),
        ("x = 1", "no class with predict"),
        ("class A:\n    def predict(self): pass", "script.py:2: predict takes (self, inputs)"),
        ("class A:\n    inputs = 1\n    def predict(self, i): pass", "inputs must be a list"),
        ("class A:\n    example = object()\n    def predict(self, i): pass", "cannot be written as JSON"),
        ("class A:\n    def load(self): 1 / 0\n    def predict(self, i): pass", "ZeroDivisionError"),
        ("import os; os._exit(7)\nclass A:\n    def predict(self, i): pass", "status 7"),
    ],
)
def test_bad_scripts(check, text, message):
    good, said = check(text)
    assert not good
    assert message in said


def test_a_load_that_never_ends_is_ended(tmp_path):
    path = tmp_path / "script.py"
    pid = tmp_path / "pid"
    path.write_text(
        f"import os, time\nclass A:\n  def load(self):\n    open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(600)\n  def predict(self, i): pass\n"
    )
    output = io.StringIO()
    assert not check_script(path, console=Console(file=output), timeout_s=4)
    assert "load did not end in 4 s" in output.getvalue()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
