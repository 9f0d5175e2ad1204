"""The digits example: what prepare.py writes is right, and the transformer reads pictures the way it was trained."""

import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from forebay.serving import BadRequest, Request

pytest.importorskip("onnxruntime", reason="needs the dependency group `examples`")
pytest.importorskip("skl2onnx", reason="needs the dependency group `examples`")
EXAMPLE = Path(__file__).parents[3] / "hack" / "examples" / "digits"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"digits_{name}", EXAMPLE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def request(protocol: Any = "raw") -> Request:
    return Request(id="1", headers={}, parameters={}, content_type="image/png", protocol=protocol)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    out = tmp_path_factory.mktemp("digits")
    return out, load("prepare").prepare(out)


@pytest.fixture(scope="module")
def session(prepared: tuple[Path, float]) -> Any:
    import onnxruntime  # noqa: PLC0415 (only once it is known to be there)

    return onnxruntime.InferenceSession(prepared[0] / "repository/digits/1/model.onnx")


def test_accuracy(prepared: tuple[Path, float]) -> None:
    assert prepared[1] >= 0.95


def test_config_and_model_agree(prepared: tuple[Path, float], session: Any) -> None:
    config = (prepared[0] / "repository/digits/config.pbtxt").read_text()
    assert re.findall(r'^    name: "(.*)"', config, re.MULTILINE) == ["image", "label", "probabilities"]
    assert [(port.name, port.shape[1:], port.type) for port in (*session.get_inputs(), *session.get_outputs())] == [
        ("image", [64], "tensor(float)"),
        ("label", [1], "tensor(int64)"),
        ("probabilities", [10], "tensor(float)"),
    ]
    assert (prepared[0] / "repository/digits/labels.txt").read_text().split() == [str(digit) for digit in range(10)]


def test_held_out_pictures(prepared: tuple[Path, float], session: Any) -> None:
    transformer = load("transformer").Digits()
    pictures = sorted((prepared[0] / "pictures").glob("*.png"))
    right = 0
    for picture in pictures:
        asked = request()
        tensors = transformer.preprocess(picture.read_bytes(), asked)
        outputs = dict(zip(["label", "probabilities"], session.run(["label", "probabilities"], tensors), strict=True))
        answer = transformer.postprocess(outputs, asked)
        assert 0 < answer["confidence"] <= 1
        right += answer["label"] == int(picture.name.split("-")[0])
    assert len(pictures) == 20
    assert right >= 18


def test_jpeg_batches_and_v2(session: Any) -> None:
    transformer = load("transformer").Digits()
    buffer = io.BytesIO()
    Image.new("RGB", (100, 80), "white").save(buffer, "JPEG")
    assert transformer.preprocess(buffer.getvalue(), request())["image"].max() < 0.1, "white is no ink"
    tensors = transformer.preprocess({"image": np.zeros((3, 64))}, request("v2"))
    label, probabilities = session.run(["label", "probabilities"], tensors)
    outputs = {"label": label, "probabilities": probabilities}
    assert transformer.postprocess(outputs, request("v2")) is outputs
    assert len(transformer.postprocess(outputs, request())) == 3


@pytest.mark.parametrize("payload", [b"", b"no picture", {"other": 1}, [1, 2], {"image": [[1.0] * 63]}])
def test_bad_requests(payload: Any) -> None:
    with pytest.raises(BadRequest, match=r"PNG or JPEG|64"):
        load("transformer").Digits().preprocess(payload, request())
