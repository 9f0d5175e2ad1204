"""Serve a model with one class of your own: the Open Inference Protocol v2, KServe's v1, and plain files and JSON.

A script holds one class, and runs with `python -m forebay.serving --script FILE --name NAME --role predictor`:

    from forebay.serving import Tensor

    class Digits:
        inputs = [Tensor("image", "FP32", [-1, 64])]
        outputs = [Tensor("scores", "FP32", [-1, 10])]

        def load(self): ...
        def predict(self, inputs, request): return {"scores": ...}

A transformer has `preprocess(self, payload, request)` and `postprocess(self, outputs, request)` instead of `predict`;
one of them may be missing. Each method may be async, and may leave `request` out. Methods that are not async run in
`--concurrency` threads, on the one object: a model that is not safe for threads needs a concurrency of 1.

A transformer may say what it sends to its model and reads of it: `model_inputs` and `model_outputs`, lists of Tensor.
Before the first request they are held against what the model says: where they don't fit, it doesn't start.

What comes in and what goes out, by the way in:

    v2 (REST, gRPC)       payload: dict of arrays        answer: dict of arrays
    v1 (:predict)         payload: the instances         answer: anything JSON, arrays too
    /predict, JSON        payload: the decoded body      answer: anything JSON, arrays too; or bytes
    /predict, a file      payload: its bytes             the same; a form with several files: dict of bytes by field

A predictor takes JSON at /predict as in v1, or a bare list of rows; and a file where its one input is of BYTES.
A `predict` that yields streams its answers: ModelStreamInfer over gRPC, generate_stream over REST.
`raise BadRequest(...)` is a 400 with that message; any other exception is a 500 with an id, and its traceback goes to
the log alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forebay.serving.errors import BadRequest
    from forebay.serving.request import Context, Request
    from forebay.serving.tensors import Tensor

__all__ = ["BadRequest", "Context", "Request", "Tensor"]
_HOMES = {"BadRequest": "errors", "Context": "request", "Request": "request", "Tensor": "tensors"}


def __getattr__(name: str) -> Any:
    """What a script imports, when it does: what downloads models and builds images needs no numpy."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
