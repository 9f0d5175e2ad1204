"""What the server says about itself and its model, as plain documents that REST sends and gRPC fills messages with."""

import functools
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from forebay.serving.pipeline import Tensors
from forebay.serving.service import EXTENSIONS, VERSION, Service
from forebay.serving.tensors import Tensor


@functools.cache
def server_version() -> str:
    """Version of Forebay."""
    return importlib.metadata.version("forebay")


def describe_server() -> dict[str, Any]:
    """v2 server metadata."""
    return {"name": "forebay", "version": server_version(), "extensions": EXTENSIONS}


def describe_model(service: Service, tensors: Tensors) -> dict[str, Any]:
    """v2 model metadata."""
    inputs, outputs = tensors
    return {
        "name": service.name,
        "versions": [VERSION],
        "platform": f"forebay_{service.pipeline.model.script.role}",
        "inputs": [_describe_tensor(tensor) for tensor in inputs],
        "outputs": [_describe_tensor(tensor) for tensor in outputs],
    }


def _describe_tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def describe_config(service: Service, tensors: Tensors) -> dict[str, Any]:
    """Triton's model configuration: what its clients, such as perf_analyzer, look up. Shapes are whole: no batching."""
    inputs, outputs = tensors
    return {
        "name": service.name,
        "platform": "",
        "backend": "forebay",
        "max_batch_size": 0,
        "input": _configure(inputs),
        "output": _configure(outputs),
        "model_transaction_policy": {"decoupled": service.pipeline.model.script.streams},
    }


def _configure(tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    return [
        {
            "name": tensor.name,
            "data_type": "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}",
            "dims": list(tensor.shape),
        }
        for tensor in tensors
    ]
