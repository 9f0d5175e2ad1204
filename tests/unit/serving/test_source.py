"""Scripts, read and loaded: each fault is found, and its message names the fix."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from forebay.serving.script import load_script
from forebay.serving.source import (
    ScriptError,
    check_signatures,
    describe_missing,
    find_class,
    find_missing,
    guess_role,
    parse_source,
)

GOOD = """
    class Base:
        def predict(self, inputs): return inputs
    class Digits(Base):
        def load(self, context): pass
        async def predict(self, inputs, request): return inputs
    class _Other:
        def predict(self, inputs): return inputs
"""


@pytest.fixture
def write(tmp_path: Path):
    def write_script(text: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(dedent(text))
        return path

    return write_script


def test_a_good_script(write):
    path = write(GOOD)
    source = parse_source(path)
    node = find_class(source, "predictor")
    assert node.name == "Digits"
    assert check_signatures(source, node) == []
    script = load_script(path, "predictor")
    assert script.cls.__name__ == "Digits"
    assert script.methods["predict"].is_async
    assert script.methods["predict"].takes_extra
    assert not script.streams


def test_syntax_errors_point_at_the_place(write):
    with pytest.raises(ScriptError) as caught:
        parse_source(write("class A:\n    def predict(self, x) return 1\n"))
    assert ":2: expected ':'" in str(caught.value)
    assert caught.value.args[0].splitlines()[-1].strip() == "^"


@pytest.mark.parametrize("content", [b"\0", b"# coding: nope\n", b"\xff\xfe"])
def test_files_that_are_no_source(tmp_path, content):
    path = tmp_path / "script.py"
    path.write_bytes(content)
    with pytest.raises(ScriptError):
        parse_source(path)


def test_all_missing_libraries_at_once(write):
    path = write("""
        import os, nope_one.sub
        from nope_two import x
        from . import sibling
        import beside
        try:
            import nope_optional
        except ImportError:
            pass
        if typing.TYPE_CHECKING:
            import nope_types
        def later():
            import nope_three
    """)
    (path.parent / "beside.py").write_text("")
    missing = find_missing(parse_source(path))
    assert sorted(missing) == ["nope_one", "nope_three", "nope_two"]
    said = describe_missing({"cv2": "opencv-python-headless"})
    assert said.startswith(
        "missing library cv2: write custom: {requirements: [opencv-python-headless]} into the manifest"
    )
    assert said.endswith(f" {sys.executable} opencv-python-headless")
    with pytest.raises(ScriptError, match=r"pip install.* nope_one"):
        load_script(path, "predictor")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "no class with predict"),
        ("class A:\n    def preprocess(self, p): pass", "its classes are A"),
        (
            "class A:\n    def predict(self, i): pass\nclass B:\n    def predict(self, i): pass",
            "2 classes with predict: A, B",
        ),
    ],
)
def test_no_class_or_two(write, text, message):
    path = write(text)
    with pytest.raises(ScriptError, match=message):
        find_class(parse_source(path), "predictor")
    with pytest.raises(ScriptError, match=message):
        load_script(path, "predictor")


@pytest.mark.parametrize(
    "signature",
    ["def predict(self)", "def predict(self, a, b, c)", "def predict(self, a, *, k)", "def predict()"],
)
def test_wrong_signatures(write, signature):
    path = write(f"class A:\n    {signature}: pass")
    source = parse_source(path)
    assert "predict takes (self, inputs)" in check_signatures(source, find_class(source, "predictor"))[0]
    with pytest.raises(ScriptError, match="predict takes"):
        load_script(path, "predictor")


@pytest.mark.parametrize(
    "signature",
    ["def predict(self, a)", "def predict(self, a, b=1)", "def predict(self, *a)", "def predict(self, a, b)"],
)
def test_right_signatures(write, signature):
    path = write(f"class A:\n    {signature}: pass")
    source = parse_source(path)
    assert check_signatures(source, find_class(source, "predictor")) == []
    assert load_script(path, "predictor").methods["predict"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs = ['x']", "inputs must be a list such as"),
        ("inputs = [Tensor('x', 'FP32', [1]), Tensor('x', 'FP32', [1])]", "names a tensor twice"),
        ("inputs = [Tensor('x', 'FP99', [1])]", r"script\.py:4: importing the script failed: ValueError"),
    ],
)
def test_wrong_declarations(write, text, message):
    path = write(f"\nfrom forebay.serving import Tensor\nclass A:\n    {text}\n    def predict(self, i): pass")
    with pytest.raises(ScriptError, match=message):
        load_script(path, "predictor")


def test_a_script_that_exits(write):
    with pytest.raises(ScriptError, match="SystemExit"):
        load_script(write("import sys; sys.exit(0)"), "predictor")


def test_roles_follow_from_methods(write):
    assert guess_role(parse_source(write(GOOD))) == "predictor"
    assert guess_role(parse_source(write("class T:\n    def postprocess(self, o): pass"))) == "transformer"
