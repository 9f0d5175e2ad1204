"""Serve a model with one class of your own: the Open Inference Protocol v2, KServe's v1, and plain files and JSON.

A script holds one class, and runs with `python -m forebay.serving --script FILE --name NAME --role predictor`:

    from forebay.serving import Tensor

    class Digits:
        inputs = [Tensor("image", "FP32", [-1, 64])]
        outputs = [Tensor("scores", "FP32", [-1, 10])]

        def load(self): ...
        def predict(self, inputs, request): return {"scores": ...}

A transformer has `preprocess(self, payload, request)` and `postprocess(self, outputs, request)` instead of `predict`.
"""

from forebay.serving.errors import BadRequest
from forebay.serving.request import Context, Request
from forebay.serving.tensors import Tensor

__all__ = ["BadRequest", "Context", "Request", "Tensor"]
