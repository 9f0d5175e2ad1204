"""The text-detector example: the drawn lines are found, and nothing else."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from forebay.serving import BadRequest, Request

cv2 = pytest.importorskip("cv2", reason="needs the dependency group `examples`")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the dependency group `examples`")
EXAMPLE = Path(__file__).parents[3] / "hack" / "examples" / "text-detector"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"text_detector_{name}", EXAMPLE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def request(protocol: Any = "raw") -> Request:
    return Request(id="1", headers={}, parameters={}, content_type="image/png", protocol=protocol)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text-detector")
    load("prepare").prepare(folder)
    return folder


@pytest.fixture(scope="module")
def session(out: Path) -> Any:
    return onnxruntime.InferenceSession(out / "repository/text-detector/1/model.onnx")


def detect(session: Any, picture: bytes) -> list[dict[str, Any]]:
    transformer, asked = load("transformer").TextDetector(), request()
    (probabilities,) = session.run(["sigmoid_0.tmp_0"], transformer.preprocess(picture, asked))
    answer: list[dict[str, Any]] = transformer.postprocess({"sigmoid_0.tmp_0": probabilities}, asked)["detections"]
    return answer


def iou(one: list[list[float]], other: list[list[float]]) -> float:
    """Area in common over area in all, of two convex quadrilaterals."""
    first, second = np.array(one, np.float32), np.array(other, np.float32)
    common = float(cv2.intersectConvexConvex(first, second)[0])
    return common / (cv2.contourArea(first) + cv2.contourArea(second) - common)


def test_every_drawn_line_is_found_and_nothing_else(out: Path, session: Any) -> None:
    pages = sorted((out / "pictures").glob("*.png"))
    assert len(pages) == 6
    for page in pages:
        truth = [line["box"] for line in json.loads(page.with_suffix(".json").read_text())]
        found = detect(session, page.read_bytes())
        assert len(found) == len(truth)
        overlaps = [max(iou(box, detection["box"]) for detection in found) for box in truth]
        assert min(overlaps) >= 0.5, page.name
        assert all(0.5 <= detection["confidence"] <= 1 for detection in found)


def test_a_turned_page(out: Path, session: Any) -> None:
    page = cv2.imread(str(out / "pictures/page-0.png"))
    turn = cv2.getRotationMatrix2D((400, 300), 8, 1)
    turned = cv2.warpAffine(page, turn, (800, 600), borderValue=(255, 255, 255))
    found = detect(session, cv2.imencode(".png", turned)[1].tobytes())
    truth = json.loads((out / "pictures/page-0.json").read_text())
    boxes = [(np.array(line["box"]) @ turn[:, :2].T + turn[:, 2]).tolist() for line in truth]
    assert min(max(iou(box, detection["box"]) for detection in found) for box in boxes) >= 0.4


def test_sizes(session: Any) -> None:
    transformer = load("transformer").TextDetector()
    for height, width in ((1, 1), (33, 700), (3000, 2000)):
        picture = cv2.imencode(".png", np.full((height, width, 3), 255, np.uint8))[1].tobytes()
        tensor = transformer.preprocess(picture, request())["x"]
        assert tensor.dtype == np.float32
        assert all(side % 32 == 0 and 0 < side <= 1280 for side in tensor.shape[2:])
        assert detect(session, picture) == []


def test_config_and_model_agree(out: Path, session: Any) -> None:
    config = (out / "repository/text-detector/config.pbtxt").read_text()
    ports = [port.name for port in (*session.get_inputs(), *session.get_outputs())]
    assert re.findall(r'^    name: "(.*)"', config, re.MULTILINE) == ports


def test_v2_passes_through() -> None:
    transformer = load("transformer").TextDetector()
    tensors = transformer.preprocess({"x": np.zeros((1, 3, 32, 32))}, request("v2"))
    assert tensors["x"].dtype == np.float32
    outputs = {"sigmoid_0.tmp_0": np.zeros((1, 1, 32, 32), np.float32)}
    assert transformer.postprocess(outputs, request("v2")) is outputs


@pytest.mark.parametrize("payload", [b"", b"no picture", {"other": 1}, [1, 2]])
def test_bad_requests(payload: Any) -> None:
    with pytest.raises(BadRequest, match="PNG or JPEG"):
        load("transformer").TextDetector().preprocess(payload, request())
