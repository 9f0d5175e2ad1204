"""config.pbtxt: what is generated, with what the user wrote of it over it, through Triton's own schema."""

import re
from collections.abc import Iterable
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from forebay.serving.formats.errors import bad_config
from forebay.serving.formats.tensors import Signature, Tensor

# As many single predictions as go through the model together at most; one instance's concurrency is less, mostly.
MAX_BATCH_SIZE = 64
_PLACE = re.compile(r"^(\d+):(\d+) : (?P<reason>.*)$", re.DOTALL)
# No model has it: what the user wrote is told from what is left out, which 0 is too.
_UNSET = -(2**31)


def check_config(text: str) -> str:
    """What is wrong with the text of `model.config`; empty where nothing is."""
    try:
        message = text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        place = _PLACE.match(str(error))
        told = f"line {place[1]}, column {place[2]}: {place['reason']}" if place else str(error)
        return f"is no part of a config.pbtxt: {told}"
    if message.name:
        return "must not have `name`: the model is called as the ModelDeployment, or as predictor.triton.model says"
    return ""


class Config:
    """The config of one model: fill it, then take its text. What the user wrote comes over whatever is generated."""

    def __init__(self, name: str, text: str = "") -> None:
        """Raises StorageError(BadConfig)."""
        if wrong := check_config(text):
            raise bad_config(f"model.config {wrong}")
        self._user: Any = text_format.Parse(text, model_config_pb2.ModelConfig())
        probe = text_format.Merge(text, model_config_pb2.ModelConfig(max_batch_size=_UNSET))
        self._user_batch: int | None = None if probe.max_batch_size == _UNSET else probe.max_batch_size
        self._made: Any = model_config_pb2.ModelConfig(name=name)

    def set_backend(self, backend: str, *, platform: str = "", file: str = "") -> None:
        """What runs the model, and the name of its file where that isn't the backend's own."""
        self._made.backend, self._made.platform, self._made.default_model_filename = backend, platform, file

    def set_instance(self, kind: str) -> None:
        """One instance, on KIND_AUTO, KIND_CPU or KIND_GPU."""
        self._made.instance_group.add(count=1, kind=kind)

    def set_parameter(self, key: str, value: str) -> None:
        """A parameter of the backend."""
        self._made.parameters[key].string_value = value

    def set_signature(self, signature: Signature, *, max_batch_size: int = MAX_BATCH_SIZE) -> None:
        """Inputs, outputs and batches, as the model's file tells them. Raises StorageError(BadConfig)."""
        batches = signature.takes_batches if self._user_batch is None else self._user_batch > 0
        self._made.max_batch_size = max_batch_size if batches else 0
        for tensors, mine, users in (
            (signature.inputs, self._made.input, self._user.input),
            (signature.outputs, self._made.output, self._user.output),
        ):
            if not users:
                _add_tensors(mine, tensors, batches=batches)

    def require_tensors(self, why: str) -> None:
        """Raise StorageError(BadConfig) unless the user has written inputs and outputs."""
        missing = [name for name in ("input", "output") if not getattr(self._user, name)]
        if missing:
            raise bad_config(
                f"{why}: write {' and '.join(missing)} into model.config, such as "
                f'{missing[0]} [{{name: "{missing[0].upper()}__0" data_type: TYPE_FP32 dims: [4]}}]'
            )

    def build(self) -> str:
        """The text of config.pbtxt. A list that the user wrote takes the place of ours, all else is merged."""
        made = model_config_pb2.ModelConfig()
        made.CopyFrom(self._made)
        for field, value in self._user.ListFields():
            if hasattr(value, "extend"):  # a list: neither a map nor a message
                made.ClearField(field.name)
        made.MergeFrom(self._user)
        if self._user_batch is not None:
            made.max_batch_size = self._user_batch
        if made.max_batch_size > 0 and made.WhichOneof("scheduling_choice") is None:
            made.dynamic_batching.SetInParent()
        return str(text_format.MessageToString(made))


def _add_tensors(made: Any, tensors: Iterable[Tensor], *, batches: bool) -> None:
    for tensor in tensors:
        if tensor.unusable or not tensor.datatype:
            raise bad_config(f"{tensor.name} is {tensor.unusable or 'of no type that is told'}")
        if tensor.shape is None:
            raise bad_config(
                f"the shape of {tensor.name} isn't in the file: write all inputs, or all outputs, into model.config"
            )
        dims = tensor.shape[1:] if batches else tensor.shape
        added = made.add(name=tensor.name, data_type=tensor.datatype, dims=dims or [1])
        # Triton wants a dimension beside the batch.
        if batches and not dims:
            added.reshape.SetInParent()
