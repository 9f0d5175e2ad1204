"""Trains a classifier of handwritten digits, and writes what `forebay serve digits.yaml` needs.

python prepare.py [OUT]     OUT is build/ beside this file when left out

OUT/repository/digits/      a Triton repository: config.pbtxt, labels.txt, 1/model.onnx
OUT/pictures/<truth>-<n>.png  digits that the model has not seen, as a person would have them
"""

import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from PIL import Image
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

HERE = Path(__file__).parent
PICTURES_PER_DIGIT = 2
PICTURE_SIDE_PX = 64
# Newer ones than this aren't in every onnxruntime that Triton images carry.
OPSET = 17


def prepare(out: Path) -> float:
    """Write the repository and the pictures, and answer the accuracy on digits that were held out (0 to 1)."""
    data = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(
        data.data.astype(np.float32), data.target, test_size=0.25, random_state=0, stratify=data.target
    )
    # Calibrated: a support vector machine alone gives no probabilities.
    model = CalibratedClassifierCV(SVC(C=10, gamma=0.001), ensemble=False).fit(train_x, train_y)
    write_repository(out / "repository" / "digits", model)
    shown = np.concatenate([np.flatnonzero(test_y == digit)[:PICTURES_PER_DIGIT] for digit in range(10)])
    write_pictures(out / "pictures", test_x[shown], test_y[shown])
    return float(model.score(test_x, test_y))


def write_repository(folder: Path, model: CalibratedClassifierCV) -> None:
    """Write one model's folder of a Triton repository."""
    (folder / "1").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "config.pbtxt", folder)
    (folder / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    inputs = [("image", FloatTensorType([None, 64]))]
    with warnings.catch_warnings():
        # skl2onnx reads attributes that scikit-learn is about to drop.
        warnings.simplefilter("ignore", FutureWarning)
        graph = to_onnx(model, initial_types=inputs, options={"zipmap": False}, target_opset=OPSET)
    name_outputs(graph)
    (folder / "1" / "model.onnx").write_bytes(graph.SerializeToString())


def name_outputs(graph: onnx.ModelProto) -> None:
    """Make the label [n, 1] and say that there are 10 probabilities: Triton wants a dimension beside the batch."""
    for node in graph.graph.node:
        node.output[:] = ["label_row" if name == "label" else name for name in node.output]
    graph.graph.initializer.append(onnx.helper.make_tensor("label_axis", onnx.TensorProto.INT64, [1], [1]))
    graph.graph.node.append(onnx.helper.make_node("Unsqueeze", ["label_row", "label_axis"], ["label"]))
    del graph.graph.output[:]
    for name, kind, width in (("label", onnx.TensorProto.INT64, 1), ("probabilities", onnx.TensorProto.FLOAT, 10)):
        graph.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, [None, width]))
    onnx.checker.check_model(graph, full_check=True)


def write_pictures(folder: Path, digits: np.ndarray, truths: np.ndarray) -> None:
    """Write digits (8x8, 0 to 16, dark ink is high) as pictures with dark ink on white."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, (digit, truth) in enumerate(zip(digits, truths, strict=True)):
        ink = (digit.reshape(8, 8) * 255 / 16).astype(np.uint8)
        picture = Image.fromarray(255 - ink).resize((PICTURE_SIDE_PX, PICTURE_SIDE_PX), Image.Resampling.LANCZOS)
        picture.save(folder / f"{truth}-{number}.png")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "build"
    sys.stdout.write(f"{prepare(target):.1%} of the held-out digits are right; written to {target}\n")
