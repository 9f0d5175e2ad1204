"""What a file or folder is, by its first bytes: for the message when it isn't what `model.format` says."""

import zipfile
from pathlib import Path
from typing import NamedTuple

from forebay.serving.formats.folders import list_names

_HEAD_BYTES = 4096


class Found(NamedTuple):
    """What something is, in words, the format to write for it (empty where there is none), and what else to do."""

    what: str
    format: str = ""
    advice: str = ""


_REPOSITORY = Found("a Triton repository, or a model's folder of one", "", "leave format out: it is served as it is")
_SAVED_MODEL = Found("a TensorFlow SavedModel", "savedmodel")
_TORCHSCRIPT = Found("TorchScript", "torchscript")
_OPENVINO = Found("an OpenVINO model", "openvino")
_WEIGHTS = Found(
    "a PyTorch checkpoint, which is a Python pickle and holds no program",
    "",
    "export the model with torch.onnx.export and write format: onnx, or with torch.jit.script(...).save and write "
    "format: torchscript",
)
_KERAS = Found("a Keras model", "", "save it with model.export(FOLDER), and write format: savedmodel")
_PICKLE = Found(
    "a Python pickle (scikit-learn's joblib.dump, say), which runs code when it is loaded",
    "",
    "convert the model to ONNX (skl2onnx) and write format: onnx, or load it in predictor: {custom: {script: ...}}",
)
_XGBOOST = Found("an XGBoost model", "xgboost")
_LIGHTGBM = Found("a LightGBM model", "lightgbm")
_LITE = Found("a TensorFlow Lite model", "", "save the model that it was made of, as a SavedModel or as ONNX")
_SAFETENSORS = Found("weights alone (safetensors)", "", "export their model, with torch.onnx.export, say")
_BEGINNINGS: tuple[tuple[bytes, Found], ...] = (
    (
        b"version https://git-lfs",
        Found("a Git LFS pointer, not the file", "", "run git lfs pull, and upload it"),
    ),
    (b"<!doctype html", Found("a web page", "", "let the uri name the file itself, not the page that shows it")),
    (b"<html", Found("a web page", "", "let the uri name the file itself, not the page that shows it")),
    (b"\x89hdf\r\n", _KERAS),
    (b"ftrt", Found("a TensorRT engine", "tensorrt")),
    (b"ptrt", Found("a TensorRT engine", "tensorrt")),
    (b"gguf", Found("a GGUF model (llama.cpp)", "", "serve it with predictor: {custom: {image: ...}}")),
    (b"tree\nversion=", _LIGHTGBM),
    (b"tree\r\nversion=", _LIGHTGBM),
    (b'{"learner"', _XGBOOST),
    (b"{l\0\0\0\0\0\0\0\x07learner", _XGBOOST),
    (b"\x1f\x8b", Found("packed with gzip", "", "unpack it, or name it .tar.gz where it is an archive")),
)


def recognize(path: Path) -> Found | None:
    """What lies at a path; None where nothing is known of it. Raises OSError."""
    if path.is_dir():
        return _recognize_folder(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PK\x03\x04"):
        return _recognize_zip(path)
    if path.name in ("saved_model.pb", "saved_model.pbtxt"):
        return _SAVED_MODEL._replace(format="", advice="write format: savedmodel, and let the uri name its folder")
    return _recognize_head(head)


def _recognize_head(head: bytes) -> Found | None:
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for beginning, found in _BEGINNINGS:
        if start.startswith(beginning):
            return found
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _PICKLE
    if start.startswith((b"<?xml", b"<net")):
        return _OPENVINO if b"<net" in start else Found("an XML file")
    if head[4:8] == b"TFL3":
        return _LITE
    return _SAFETENSORS if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27 else None


def _recognize_folder(folder: Path) -> Found | None:
    names = list_names(folder)
    if {"saved_model.pb", "saved_model.pbtxt"} & set(names):
        return _SAVED_MODEL
    if "config.pbtxt" in names or any((folder / name / "config.pbtxt").is_file() for name in names):
        return _REPOSITORY
    return None


def _recognize_zip(path: Path) -> Found:
    try:
        with zipfile.ZipFile(path) as packed:
            names = packed.namelist()
    except zipfile.BadZipFile:
        return Found("an archive that is cut off", "", "upload it again")
    below = {name.partition("/")[2] for name in names}
    if "constants.pkl" in below or any(name.startswith("code/") for name in below):
        return _TORCHSCRIPT
    if "data.pkl" in below:
        return _WEIGHTS
    if {"config.json", "model.weights.h5"} <= set(names):
        return _KERAS
    return Found("a zip archive", "", "name it .zip, so that it is unpacked, or upload what is in it")
