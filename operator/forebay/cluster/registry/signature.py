"""What a folder tells of the model in it: its format and, where a Triton config says it, its inputs and outputs."""

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from forebay.errors import UserError
from forebay.serving.storage.layout import CONFIG, is_model, read_model_names

Json = dict[str, Any]

_TEXT = "BYTES"  # as the Open Inference Protocol calls what Triton's config calls TYPE_STRING


def read_signature(source: Path, *, name: str) -> Json:
    """The fields of a ModelVersion that the files tell: format, inputs, outputs, labels."""
    if source.is_file():
        return {"format": "onnx"} if source.suffix == ".onnx" else {}
    folder = _find_model(source, name)
    if folder is None:
        return {"format": "triton"} if read_model_names(source) else {}
    config = folder / CONFIG
    return {"format": "triton", **(_read_config(config) if config.is_file() else {})}


def _find_model(source: Path, name: str) -> Path | None:
    """The folder of the model: the source itself, or the one of a repository that has one, or one of that name."""
    if is_model(source):
        return source
    models = read_model_names(source)
    chosen = models[0] if len(models) == 1 else name
    return source / chosen if chosen in models else None


def _read_config(path: Path) -> Json:
    config = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(path.read_text("utf-8"), config, allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: Triton couldn't read it either: {error}") from None
    batch = [-1] if config.max_batch_size > 0 else []
    labels = [label for each in config.output[:] for label in _read_labels(path.parent, each.label_filename)]
    told = {
        "inputs": [_describe(each, batch) for each in config.input],
        "outputs": [_describe(each, batch) for each in config.output],
        "labels": labels,
    }
    return {field: value for field, value in told.items() if value}


def _describe(tensor: Any, batch: list[int]) -> Json:
    kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    return {
        "name": tensor.name,
        "dataType": _TEXT if kind == "STRING" else kind,
        "shape": [*batch, *(int(each) for each in tensor.dims)],
    }


def _read_labels(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text("utf-8", errors="replace").splitlines() if name and path.is_file() else []
