"""Triton's FIL backend for local mode: treelite's own inference inside Triton's Python backend.

The Triton of the wheel carries the Python backend alone, see backends/onnxruntime. NVIDIA's backend reads models by
treelite too, so that the results are the same; speed is not: never present a time measured with this one as Triton's.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import treelite
import triton_python_backend_utils as pb_utils

FILES = {
    "xgboost_json": "xgboost.json",
    "xgboost_ubj": "xgboost.ubj",
    "lightgbm": "model.txt",
    "treelite_checkpoint": "checkpoint.tl",
}


class TritonPythonModel:
    """One model instance: a forest of the version's folder."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model. Raises what treelite says when the file is no model."""
        config = json.loads(args["model_config"])
        told = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        kind = told.get("model_type", "xgboost_ubj")
        if kind not in FILES:
            raise pb_utils.TritonModelException(f"model_type is {kind}: here it is one of {', '.join(FILES)}")
        folder = Path(args["model_repository"]) / args["model_version"]
        file = folder / (config.get("default_model_filename") or FILES[kind])
        if not file.is_file():
            raise pb_utils.TritonModelException(f"{file} does not exist: the fil backend reads it")
        try:
            self._forest = _load(file, kind)
        except treelite.TreeliteError as error:
            raise pb_utils.TritonModelException(f"treelite can't load {file}: {error}") from error
        features = config["input"][0]["dims"][-1]
        if features != self._forest.num_feature:
            raise pb_utils.TritonModelException(
                f"config.pbtxt declares {features} features, but {file} has {self._forest.num_feature}"
            )
        if [each["name"] for each in config["output"]] != ["output__0"]:
            raise pb_utils.TritonModelException("the local Triton knows the output output__0 alone")
        classes = "true" in (told.get("output_class"), told.get("is_classifier"))
        self._picks_class = classes and told.get("predict_proba", "false") != "true"
        self._threshold = float(told.get("threshold", 0.5))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, whose rows go through the model together."""
        rows = [pb_utils.get_input_tensor_by_name(request, "input__0").as_numpy() for request in requests]
        ends = np.cumsum([len(each) for each in rows])[:-1]
        try:
            answers = np.split(self._predict(np.concatenate(rows)), ends)
        except treelite.TreeliteError as error:
            failure = pb_utils.TritonError(f"treelite: {error}")
            return [pb_utils.InferenceResponse(error=failure) for _ in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("output__0", each)]) for each in answers]

    def _predict(self, rows: Any) -> Any:
        values = treelite.gtil.predict(self._forest, rows).reshape(len(rows), -1)
        if self._picks_class:
            several = values.shape[1] > 1
            values = (values.argmax(axis=1) if several else values[:, 0] > self._threshold).reshape(-1, 1)
        return np.ascontiguousarray(values, np.float32)


def _load(file: Path, kind: str) -> Any:
    if kind == "lightgbm":
        return treelite.frontend.load_lightgbm_model(file)
    if kind == "treelite_checkpoint":
        return treelite.Model.deserialize(file)
    return treelite.frontend.load_xgboost_model(file, format_choice="ubjson" if kind == "xgboost_ubj" else "json")
