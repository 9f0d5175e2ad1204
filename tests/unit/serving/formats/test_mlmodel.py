"""What MLflow saved: which of its flavours Triton serves, and what is said where none is."""

from pathlib import Path

import pytest

from forebay.serving.formats.mlmodel import Saved, find_saved, is_mlmodel
from forebay.serving.storage.errors import Reason, StorageError


def write(folder: Path, text: str, *files: str) -> Path:
    (folder / "MLmodel").write_text(text)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


BOTH = "flavors:\n  python_function: {loader_module: mlflow.onnx}\n  onnx: {data: model.onnx, onnx_version: 1.19}\n"


def test_the_flavor_that_triton_serves(tmp_path: Path) -> None:
    assert not is_mlmodel(tmp_path)
    write(tmp_path, BOTH, "model.onnx")
    assert is_mlmodel(tmp_path)
    assert find_saved(tmp_path) == Saved(tmp_path / "model.onnx", "onnx")
    assert find_saved(tmp_path, "onnx") == Saved(tmp_path / "model.onnx", "onnx")
    assert find_saved(tmp_path, "torchscript") is None, "the files are looked through as those of any folder"


def test_a_booster_and_a_pickle(tmp_path: Path) -> None:
    write(tmp_path, "flavors: {lightgbm: {data: model.lgb}}", "model.lgb")
    assert find_saved(tmp_path) == Saved(tmp_path / "model.lgb", "lightgbm")
    write(tmp_path, "flavors: {xgboost: {data: sub/model.ubj}}", "sub/model.ubj")
    assert find_saved(tmp_path) == Saved(tmp_path / "sub/model.ubj", "xgboost")
    write(tmp_path, "flavors: {lightgbm: {data: model.pkl}}", "model.pkl")
    assert "a Python pickle" in refuse(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flavors: {sklearn: {pickled_model: model.pkl}, python_function: {}}", "convert it to ONNX (skl2onnx)"),
        ("flavors: {sklearn: {pickled_model: model.pkl}, python_function: {}}", "predictor: {custom: {script: ...}}"),
        ("flavors: {pytorch: {model_data: data}}", "torch.onnx.export"),
        ("flavors: {python_function: {}}", "(python_function; it serves onnx, xgboost, lightgbm)"),
        ("flavors: {}", "(none;"),
        ("flavors: {onnx: {data: ../model.onnx}}", "where nothing is"),
        ("flavors: {onnx: {data: /etc/passwd}}", "where nothing is"),
        ("flavors: {onnx: {data: other.onnx}}", "where nothing is"),
        ("flavors: {onnx: {}}", "where nothing is"),
        ("flavors: [onnx]", "isn't what MLflow writes"),
        ("{", "isn't what MLflow writes"),
        ("", "isn't what MLflow writes"),
        (f"# {'x' * 2**20}", "larger than a megabyte"),
    ],
)
def test_what_triton_serves_not(tmp_path: Path, text: str, words: str) -> None:
    assert words in refuse(write(tmp_path, text, "model.onnx"))


def refuse(folder: Path) -> str:
    with pytest.raises(StorageError) as caught:
        find_saved(folder)
    assert caught.value.reason is Reason.BAD_FORMAT
    return caught.value.message
