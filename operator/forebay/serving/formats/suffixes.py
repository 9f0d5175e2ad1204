"""How the files of each format are called."""

from pathlib import PurePath

SUFFIXES: dict[str, tuple[str, ...]] = {
    "onnx": (".onnx",),
    "tensorrt": (".plan", ".engine", ".trt"),
    "torchscript": (".pt", ".pth", ".ts", ".torchscript"),
    "openvino": (".xml",),
    "savedmodel": (),  # a folder
    "xgboost": (".ubj", ".json"),
    "lightgbm": (".txt",),
}
# Any file may be called so.
_COMMON = (".json", ".txt", ".xml")


def guess_format(name: str) -> str:
    """The format that a file of this name probably has; empty where the name says nothing."""
    suffix = PurePath(name).suffix.lower()
    if suffix in _COMMON:
        return ""
    return next((format_ for format_, suffixes in SUFFIXES.items() if suffix in suffixes), "")
