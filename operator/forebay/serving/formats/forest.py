"""What the files of XGBoost and LightGBM say of themselves. Triton runs both with its FIL backend, which needs to know.

Neither is a pickle: loading one runs no code of its author's.
"""

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

from forebay.serving.formats.errors import bad_format
from forebay.serving.formats.tensors import Signature, Tensor

# A row costs microseconds: people send whole tables.
MAX_ROWS = 8192
_XGBOOST = b"learner_model_param"
# A base score for each class stands before what is looked for.
_XGBOOST_TAIL_BYTES = 1024 * 1024
_LIGHTGBM_HEAD_BYTES = 4096
_LIGHTGBM_END = b"end of trees"


@dataclass(frozen=True)
class Forest:
    """The trees of a model: its features, and how many numbers it answers for a row (one for two classes)."""

    features: int
    outputs: int

    @property
    def signature(self) -> Signature:
        """One input and one output, under the names that the backend wants."""
        return Signature(
            (Tensor("input__0", "TYPE_FP32", (-1, self.features)),),
            (Tensor("output__0", "TYPE_FP32", (-1, self.outputs)),),
        )

    @property
    def parameters(self) -> dict[str, str]:
        """What makes the backend answer as the library's own `predict`: a value, or each class's probability."""
        several = "true" if self.outputs > 1 else "false"
        # The second is what newer versions call the first; older ones want a threshold, even where none is used.
        return {"output_class": several, "is_classifier": several, "predict_proba": several, "threshold": "0.5"}


def read_xgboost(path: Path) -> tuple[Forest, str]:
    """The forest in a file of XGBoost's, and the backend's name for how it is written. Raises BadFormat; OSError."""
    size = path.stat().st_size
    advice = "save it with Booster.save_model('model.ubj')"
    if not size:
        raise bad_format(f"{path.name} is empty: {advice}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:1] != b"{" or data.find(b"learner", 0, 64) < 0:
            raise bad_format(f"{path.name} is no XGBoost model in JSON or UBJSON: {advice}")
        at = data.rfind(_XGBOOST)
        end = data[max(0, size - 16) : size].rstrip()
        if at < 0 or not end.endswith(b"}"):
            raise bad_format(f"{path.name} is cut off at {size} bytes: upload it again")
        about = data[at : at + _XGBOOST_TAIL_BYTES]
        kind = "xgboost_ubj" if data[1:2] == b"L" else "xgboost_json"
    features, classes, targets = (_read_number(about, name) for name in (b"num_feature", b"num_class", b"num_target"))
    if features < 1:
        raise bad_format(f"{path.name} doesn't say how many features it takes: {advice}, of XGBoost 1.6 or newer")
    if targets > 1:
        raise bad_format(f"{path.name} has {targets} targets, and Triton's FIL backend takes one: train one model each")
    return Forest(features, max(classes, 1)), kind


def read_lightgbm(path: Path) -> Forest:
    """The forest in a file of LightGBM's. Raises StorageError(BadFormat); OSError."""
    with path.open("rb") as file:
        head = file.read(_LIGHTGBM_HEAD_BYTES).decode("utf-8", "replace")
        if head.split("\n", 1)[0].rstrip() != "tree":
            raise bad_format(f"{path.name} is no LightGBM model: save it with Booster.save_model('model.txt')")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.rfind(_LIGHTGBM_END) < 0:
                raise bad_format(f"{path.name} is cut off at {len(data)} bytes: upload it again")
    told = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    try:
        return Forest(int(told["max_feature_idx"]) + 1, int(told["num_class"]))
    except (KeyError, ValueError) as error:
        raise bad_format(f"{path.name} doesn't say how many features and classes it has: save it again") from error


def _read_number(about: bytes, name: bytes) -> int:
    """The number after a name: JSON and UBJSON both write it as text."""
    found = re.search(name + rb"[^0-9]{1,16}([0-9]{1,9})", about)
    return int(found[1]) if found else 0
