"""How the files of each format are called."""

from pathlib import PurePath

SUFFIXES = {
    "onnx": (".onnx",),
    "tensorrt": (".plan", ".engine", ".trt"),
    "torchscript": (".pt", ".pth", ".ts", ".torchscript"),
    "openvino": (".xml",),
}


def guess_format(name: str) -> str:
    """The format that a file of this name probably has; empty where the name says nothing."""
    suffix = PurePath(name).suffix.lower()
    return next((format_ for format_, suffixes in SUFFIXES.items() if suffix in suffixes), "")
