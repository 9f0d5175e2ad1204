"""How a model of each format lies in its folder of a Triton repository, and what its config says."""

from collections.abc import Callable
from pathlib import Path

from forebay.serving.formats.arrange import VERSION
from forebay.serving.formats.config import Config
from forebay.serving.formats.errors import bad_format
from forebay.serving.formats.forest import MAX_ROWS, Forest, read_lightgbm, read_xgboost
from forebay.serving.formats.onnx import read_onnx

# Fills the config, and answers the links of a model's folder.
LayOut = Callable[[Path, Config], dict[str, Path]]


def _lay_out_onnx(file: Path, config: Config) -> dict[str, Path]:
    model = read_onnx(file)
    for each in model.data_files:
        if Path(each).is_absolute() or ".." in Path(each).parts:
            raise bad_format(
                f"{file.name} keeps weights in {each}, outside its folder: save it again with them beside it"
            )
        if not (file.parent / each).is_file():
            raise bad_format(f"{file.name} keeps weights in {each}, which isn't beside it: upload both")
    config.set_instance("KIND_AUTO")
    config.set_signature(model.signature)
    if not model.data_files:
        config.set_backend("onnxruntime")
        return {f"{VERSION}/model.onnx": file}
    # The whole folder, in which the files find each other by their own names.
    config.set_backend("onnxruntime", file=file.name)
    return {VERSION: file.parent}


def _lay_out_tensorrt(file: Path, config: Config) -> dict[str, Path]:
    # Triton itself asks the engine for inputs, outputs and batches.
    config.set_backend("tensorrt", platform="tensorrt_plan")
    config.set_instance("KIND_GPU")
    return {f"{VERSION}/model.plan": file}


def _lay_out_torchscript(file: Path, config: Config) -> dict[str, Path]:
    config.require_tensors("a TorchScript file doesn't tell the types and shapes of its inputs and outputs")
    config.set_backend("pytorch", platform="pytorch_libtorch")
    config.set_instance("KIND_AUTO")
    return {f"{VERSION}/model.pt": file}


def _lay_out_openvino(file: Path, config: Config) -> dict[str, Path]:
    weights = file.with_suffix(".bin")
    if not weights.is_file():
        raise bad_format(f"{file.name} has its weights in {weights.name}, which isn't beside it: upload both")
    # Triton itself asks the model for inputs, outputs and batches.
    config.set_backend("openvino")
    config.set_instance("KIND_CPU")
    return {f"{VERSION}/model.xml": file, f"{VERSION}/model.bin": weights}


def _lay_out_xgboost(file: Path, config: Config) -> dict[str, Path]:
    forest, kind = read_xgboost(file)
    _set_forest(config, forest, kind)
    return {f"{VERSION}/{kind.replace('_', '.')}": file}


def _lay_out_lightgbm(file: Path, config: Config) -> dict[str, Path]:
    _set_forest(config, read_lightgbm(file), "lightgbm")
    return {f"{VERSION}/model.txt": file}


def _set_forest(config: Config, forest: Forest, kind: str) -> None:
    config.set_backend("fil")
    config.set_instance("KIND_AUTO")
    config.set_signature(forest.signature, max_batch_size=MAX_ROWS)
    for key, value in {"model_type": kind, **forest.parameters}.items():
        config.set_parameter(key, value)


def _lay_out_saved_model(folder: Path, config: Config) -> dict[str, Path]:
    # Triton itself asks the model for inputs, outputs and batches.
    config.set_backend("tensorflow", platform="tensorflow_savedmodel")
    config.set_instance("KIND_AUTO")
    return {f"{VERSION}/model.savedmodel": folder}


LAYOUTS: dict[str, LayOut] = {
    "onnx": _lay_out_onnx,
    "tensorrt": _lay_out_tensorrt,
    "torchscript": _lay_out_torchscript,
    "openvino": _lay_out_openvino,
    "savedmodel": _lay_out_saved_model,
    "xgboost": _lay_out_xgboost,
    "lightgbm": _lay_out_lightgbm,
}
