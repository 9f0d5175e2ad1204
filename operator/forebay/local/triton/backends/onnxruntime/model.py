"""Triton's onnxruntime backend for local mode: onnxruntime inside Triton's Python backend.

The Triton of the wheel carries the Python backend alone, so that a repository that says `backend: "onnxruntime"` would
not load. Triton takes a backend that is written in Python for it, see "Python-based backends" in
https://github.com/triton-inference-server/python_backend. Results are those of NVIDIA's backend, speed is not: never
present a time measured with this one as Triton's.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One model instance: a session over `model.onnx` (or `default_model_filename`) of the version's folder."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model. Raises what onnxruntime says when the file is no model."""
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        file = folder / (config.get("default_model_filename") or "model.onnx")
        if not file.is_file():
            raise pb_utils.TritonModelException(f"{file} does not exist: the onnxruntime backend reads it")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(
            config.get("parameters", {}).get("intra_op_thread_count", {}).get("string_value", 0)
        )
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no base class of its own for its errors
            raise pb_utils.TritonModelException(f"onnxruntime can't load {file}: {error}") from error
        self._outputs = [output["name"] for output in config["output"]]
        self._batches = config["max_batch_size"] > 0
        known = {value.name for value in self._session.get_outputs()}
        missing = [name for name in self._outputs if name not in known]
        if missing:
            raise pb_utils.TritonModelException(f"{file} has no output {missing[0]}: it has {sorted(known)}")
        wanted = {value.name for value in self._session.get_inputs()}
        declared = {value["name"] for value in config["input"]}
        if wanted != declared:
            raise pb_utils.TritonModelException(
                f"config.pbtxt declares inputs {sorted(declared)}, but {file} has {sorted(wanted)}"
            )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests; those of one shape go through the model together when the model takes batches."""
        inputs = [
            {
                value.name: pb_utils.get_input_tensor_by_name(request, value.name).as_numpy()
                for value in self._session.get_inputs()
            }
            for request in requests
        ]
        groups: dict[Any, list[int]] = {}
        for index, arrays in enumerate(inputs):
            key = tuple(array.shape[1:] for array in arrays.values()) if self._batches else index
            groups.setdefault(key, []).append(index)
        responses: list[Any] = [None] * len(requests)
        for members in groups.values():
            for index, response in zip(members, self._answer([inputs[index] for index in members]), strict=True):
                responses[index] = response
        return responses

    def _answer(self, group: list[dict[str, Any]]) -> list[Any]:
        try:
            if len(group) == 1:
                return [self._respond(self._session.run(self._outputs, group[0]))]
            together = {name: np.concatenate([arrays[name] for arrays in group]) for name in group[0]}
            ends = np.cumsum([len(next(iter(arrays.values()))) for arrays in group])[:-1]
            parts = [np.split(output, ends) for output in self._session.run(self._outputs, together)]
            return [self._respond(list(values)) for values in zip(*parts, strict=True)]
        except Exception as error:  # noqa: BLE001  (as above; the request fails, the instance lives)
            failure = pb_utils.TritonError(f"onnxruntime: {error}")
            return [pb_utils.InferenceResponse(error=failure) for _ in group]

    def _respond(self, values: list[Any]) -> Any:
        tensors = [pb_utils.Tensor(name, value) for name, value in zip(self._outputs, values, strict=True)]
        return pb_utils.InferenceResponse(output_tensors=tensors)
