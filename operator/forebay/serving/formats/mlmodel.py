"""What MLflow saved: a folder with a file MLmodel, which tells in which flavours the model is there."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from forebay.serving.formats.errors import bad_format

MLMODEL = "MLmodel"
_MOST_BYTES = 1024 * 1024
# The flavours whose file Triton can serve, by the format that it is.
_FORMATS = ("onnx", "xgboost", "lightgbm")
_ADVICE = {
    "sklearn": "convert it to ONNX (skl2onnx) and log it by mlflow.onnx.log_model",
    "pytorch": "export it to ONNX (torch.onnx.export) and log it by mlflow.onnx.log_model",
    "tensorflow": "convert it to ONNX (tf2onnx) and log it by mlflow.onnx.log_model",
    "keras": "convert it to ONNX (tf2onnx) and log it by mlflow.onnx.log_model",
}
_OWN = "serve it by predictor: {custom: {script: ...}}, which gets the folder as context.model_dir"


class Saved(NamedTuple):
    """A model's file or folder, and its format."""

    path: Path
    format: str


def is_mlmodel(source: Path) -> bool:
    """Whether MLflow saved what lies at a path."""
    return source.is_dir() and (source / MLMODEL).is_file()


def find_saved(folder: Path, format_: str = "") -> Saved | None:
    """The model in a folder of MLflow's: in whichever flavour Triton serves, or in the one of a format, which may be
    missing.

    Raises StorageError(BadFormat), which says what there is instead; OSError.
    """
    flavors = _read_flavors(folder / MLMODEL)
    fitting = [each for each in _FORMATS if each in flavors and format_ in ("", each)]
    if not fitting and format_:
        return None
    if not fitting:
        raise _no_flavor(flavors)
    flavor = flavors[fitting[0]]
    data = str(flavor.get("data") or "")
    path = folder / data
    if not data or ".." in Path(data).parts or Path(data).is_absolute() or not path.exists():
        raise bad_format(f"{MLMODEL} says that the {fitting[0]} model lies at {data!r}, where nothing is: log it anew")
    if fitting[0] == "lightgbm" and path.suffix != ".lgb":
        raise bad_format(
            f"{path.name} is a Python pickle, which runs code when it is loaded: log its booster "
            f"(mlflow.lightgbm.log_model(model.booster_)), or {_OWN}"
        )
    return Saved(path, fitting[0])


def _read_flavors(file: Path) -> dict[str, dict[str, Any]]:
    if file.stat().st_size > _MOST_BYTES:
        raise bad_format(f"{MLMODEL} is larger than a megabyte, so it isn't MLflow's: give model.format")
    try:
        found = yaml.safe_load(file.read_text("utf-8"))["flavors"]
        return {str(name): dict(flavor) for name, flavor in found.items()}
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise bad_format(f"{MLMODEL} isn't what MLflow writes: log the model anew, or give model.format") from error


def _no_flavor(flavors: dict[str, dict[str, Any]]) -> Exception:
    there = ", ".join(sorted(flavors)) or "none"
    advice = next((advice for flavor, advice in _ADVICE.items() if flavor in flavors), "")
    advised = f"{advice}, or {_OWN}" if advice else _OWN
    return bad_format(
        f"MLflow saved the model in flavours that Triton doesn't serve ({there}; it serves {', '.join(_FORMATS)}): "
        f"{advised}"
    )
