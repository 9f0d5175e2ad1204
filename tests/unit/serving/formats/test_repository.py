"""Repositories of which a part is missing."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from forebay.serving.formats.repository import check_models
from forebay.serving.storage import Reason, StorageError, read_model_names
from forebay.serving.storage.__main__ import main

ONNX = 'backend: "onnxruntime"'


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def write_onnx(file: Path, *, data: str = "") -> None:
    """A model that adds a weight, which may lie in a file of its own."""
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 64]) for name in "xy"]
    weight = numpy_helper.from_array(np.ones(64, np.float32), "w")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "m", info[:1], info[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, file, save_as_external_data=bool(data), location=data or None, size_threshold=0)


def ensemble(*steps: str) -> str:
    return f'platform: "ensemble" ensemble_scheduling {{ step [{", ".join(steps)}] }}'


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"m/config.pbtxt": ONNX, "m/1/other.onnx": ""}, "m/1/ holds only other.onnx, and the backend"),
        ({"m/config.pbtxt": 'platform: "onnxruntime_onnx"', "m/1/.keep": ""}, "m/1/ is empty"),
        (
            {"m/config.pbtxt": f'{ONNX} default_model_filename: "a.onnx"', "m/1/model.onnx": ""},
            "loads a.onnx: upload it",
        ),
        ({"m/config.pbtxt": 'backend: "python"', "m/1/model.pyc": ""}, "the backend python loads model.py"),
        (
            {"m/config.pbtxt": 'backend: "python"', "m/1/model.py": "", "m/10/a": "", "m/9/model.py": ""},
            "m/10/ holds only a",
        ),
        (
            {
                "m/config.pbtxt": 'backend: "python" version_policy { specific { versions: [1, 3] } }',
                "m/1/model.py": "",
            },
            "m/config.pbtxt asks for version 3, which isn't there",
        ),
        ({"m/config.pbtxt": 'backend: "openvino"', "m/1/model.xml": ""}, "has its weights in model.bin"),
        (
            {
                "e/config.pbtxt": ensemble('{model_name: "a"}', '{model_name: "b"}'),
                "e/1/.keep": "",
                "a/1/model.onnx": "",
            },
            "ensemble e has a step with model b, which isn't in the repository (there are a, e)",
        ),
        (
            {"e/config.pbtxt": ensemble('{model_name: "a" model_version: 2}'), "e/1/.keep": "", "a/1/model.onnx": ""},
            "ensemble e has a step with version 2 of a",
        ),
    ],
)
def test_half_a_repository(tmp_path: Path, files: dict[str, str], message: str) -> None:
    repository = write(tmp_path, files)
    with pytest.raises(StorageError) as caught:
        check_models(repository, read_model_names(repository))
    assert caught.value.reason is Reason.BAD_LAYOUT
    assert message in caught.value.message


@pytest.mark.parametrize(
    "files",
    [
        {"m/1/model.onnx": "whatever"},
        {"m/config.pbtxt": "backend: python", "m/1/a": ""},
        {"m/config.pbtxt": 'backend: "mine"', "m/1/.keep": ""},
        {"m/config.pbtxt": 'backend: "tensorrt" cc_model_filenames {key: "7.5" value: "t4.plan"}', "m/1/t4.plan": ""},
        {"m/config.pbtxt": 'backend: "python" runtime: "vllm.py"', "m/1/model.json": ""},
        {
            "m/config.pbtxt": 'backend: "python" version_policy { latest { num_versions: 2 } }',
            "m/1/a": "",
            "m/2/model.py": "",
            "m/3/model.py": "",
        },
        {"e/config.pbtxt": ensemble('{model_name: "a" model_version: -1}'), "e/1/.keep": "", "a/1/model.onnx": ""},
    ],
)
def test_what_triton_loads_or_judges_itself(tmp_path: Path, files: dict[str, str]) -> None:
    repository = write(tmp_path, files)
    check_models(repository, read_model_names(repository))


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, {"m/config.pbtxt": ONNX})
    write_onnx(tmp_path / "m/1/model.onnx", data="weights.data")
    check_models(tmp_path, ["m"])
    (tmp_path / "m/1/weights.data").unlink()
    with pytest.raises(StorageError, match=r"m/1/model\.onnx keeps weights in weights\.data, which isn't beside it"):
        check_models(tmp_path, ["m"])
    # A folder of that name holds both.
    (tmp_path / "m/1/model.onnx").unlink()
    write_onnx(tmp_path / "m/1/model.onnx/model.onnx", data="weights.data")
    check_models(tmp_path, ["m"])


def test_an_upload_that_was_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"repository/m/config.pbtxt": ONNX})
    file = tmp_path / "repository/m/1/model.onnx"
    write_onnx(file)
    file.write_bytes(file.read_bytes()[:-40])
    wanted = [f"--uri=file:{tmp_path}/repository", f"--to={tmp_path}/m", "--layout=triton", "--name=m"]
    assert main(wanted) == 1
    told = capsys.readouterr().out
    assert '"reason": "BadFormat"' in told
    assert "m/1: model.onnx is cut off" in told
