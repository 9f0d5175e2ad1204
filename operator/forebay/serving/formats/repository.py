"""A given Triton repository, held against its own configs before Triton starts: is all there that they name?"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from forebay.serving.formats.onnx import read_onnx
from forebay.serving.storage.errors import Reason, StorageError

CONFIG = "config.pbtxt"
_PLATFORMS = {
    "onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt", "pytorch_libtorch": "pytorch",
    "tensorflow_savedmodel": "tensorflow", "tensorflow_graphdef": "tensorflow",
}  # fmt: skip
# What a backend loads where the config says no other name. Other backends may need no file at all.
_FILES = {
    "onnxruntime": ("model.onnx",),
    "python": ("model.py",),
    "tensorrt": ("model.plan",),
    "pytorch": ("model.pt", "model.pt2"),
    "openvino": ("model.xml", "model.onnx", "model.pb", "model.pdmodel", "model.tflite"),
    "tensorflow": ("model.savedmodel", "model.graphdef"),
}
_MOST_SHOWN = 8


def check_models(repository: Path, models: Iterable[str]) -> None:
    """Raise StorageError(BadLayout or BadFormat) for what a model's config names and isn't there.

    What Triton can't read of a config it says better itself.
    """
    names = list(models)
    for name in names:
        config = _read_config(repository / name / CONFIG)
        if config is None:
            continue
        for step in config.ensemble_scheduling.step:
            _check_step(repository, name, step, names)
        if backend := _find_backend(config):
            for version in _choose_versions(repository / name, config):
                _check_version(version, backend, config)


def _read_config(path: Path) -> Any:
    try:
        text = path.read_text("utf-8")
        return text_format.Parse(text, model_config_pb2.ModelConfig(), allow_unknown_field=True)
    except (FileNotFoundError, UnicodeDecodeError, text_format.ParseError):
        return None


def _check_step(repository: Path, ensemble: str, step: Any, names: list[str]) -> None:
    model = step.model_name
    if model not in names:
        raise _incomplete(
            f"ensemble {ensemble} has a step with model {model}, which isn't in the repository (there are "
            f"{', '.join(names)}): put its folder beside {ensemble}/, or correct model_name in {ensemble}/{CONFIG}"
        )
    if step.model_version > 0 and not (repository / model / str(step.model_version)).is_dir():
        raise _incomplete(
            f"ensemble {ensemble} has a step with version {step.model_version} of {model}, which isn't there: upload "
            f"{model}/{step.model_version}/, or write model_version: -1 into {ensemble}/{CONFIG}"
        )


def _find_backend(config: Any) -> str:
    """What runs the model; empty where the config leaves it to Triton, or only Triton knows what it needs."""
    # Files by the GPU's compute capability, and Python models under another name.
    if config.cc_model_filenames or config.runtime:
        return ""
    backend = str(config.backend) or _PLATFORMS.get(config.platform, "")
    return backend if backend in _FILES else ""


def _choose_versions(folder: Path, config: Any) -> list[Path]:
    """The versions that Triton would load: the latest unless the config says otherwise."""
    there = sorted((each for each in folder.iterdir() if each.name.isascii() and each.name.isdigit()), key=_number)
    policy = config.version_policy
    if policy.HasField("all"):
        return there
    if policy.HasField("specific"):
        wanted = [folder / str(each) for each in policy.specific.versions]
        if missing := next((each for each in wanted if not each.is_dir()), None):
            raise _incomplete(
                f"{folder.name}/{CONFIG} asks for version {missing.name}, which isn't there: upload "
                f"{folder.name}/{missing.name}/, or correct version_policy"
            )
        return wanted
    return there[-(policy.latest.num_versions or 1) :]


def _number(folder: Path) -> int:
    return int(folder.name)


def _check_version(version: Path, backend: str, config: Any) -> None:
    given = str(config.default_model_filename)
    wanted = (given,) if given else _FILES[backend]
    place = f"{version.parent.name}/{version.name}"
    file = next((version / each for each in wanted if (version / each).exists()), None)
    if file is None:
        there = sorted(each.name for each in version.iterdir() if not each.name.startswith("."))
        found = f"holds only {', '.join(there[:_MOST_SHOWN])}" if there else "is empty"
        raise _incomplete(
            f"{place}/ {found}, and the backend {backend} loads {' or '.join(wanted)}: upload it, or write "
            f"default_model_filename into {version.parent.name}/{CONFIG}"
        )
    if backend == "onnxruntime":
        # In a folder, where the weights lie beside it.
        _check_onnx(file / "model.onnx" if file.is_dir() else file, place)
    if backend == "openvino" and file.suffix == ".xml" and not file.with_suffix(".bin").exists():
        raise _incomplete(f"{place}/{file.name} has its weights in {file.stem}.bin, which isn't beside it: upload both")


def _check_onnx(file: Path, place: str) -> None:
    if not file.is_file():
        raise _incomplete(f"{place}/{file.parent.name}/ is a folder without a model.onnx in it: upload it")
    try:
        data_files = read_onnx(file).data_files
    except StorageError as error:
        raise StorageError(error.reason, f"{place}: {error.message}") from None
    for each in data_files:
        if not (file.parent / each).is_file():
            raise _incomplete(f"{place}/{file.name} keeps weights in {each}, which isn't beside it: upload both")


def _incomplete(what: str) -> StorageError:
    return StorageError(Reason.BAD_LAYOUT, what)
