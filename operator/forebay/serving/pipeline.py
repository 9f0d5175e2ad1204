"""From what a client sent to what it gets: through a predictor's class, or through a transformer and its predictor."""

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import Any

import numpy as np

from forebay.serving.client import PredictorClient
from forebay.serving.errors import BadRequest, ModelFault, ServingError
from forebay.serving.fit import describe_misfit, find_disagreement, find_misfits
from forebay.serving.model import Model
from forebay.serving.request import Request
from forebay.serving.rows import decode_rows, encode_rows, rows_of
from forebay.serving.source import ScriptError
from forebay.serving.tensors import Array, Arrays, Tensor, check_inputs, check_outputs, describe

MISFIT = "transformer-misfit"
logger = logging.getLogger("forebay.serving")

Tensors = tuple[Sequence[Tensor], Sequence[Tensor]]


class Pipeline(ABC):
    """The three ways in: tensors (v2), rows (v1), and whatever a user's client has (raw)."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.inputs = model.script.inputs
        self.outputs = model.script.outputs
        self.is_connected = True

    async def connect(self) -> None:  # noqa: B027  (most have nobody behind them)
        """Until whoever is behind it was reached."""

    @abstractmethod
    async def infer(self, inputs: Arrays, request: Request) -> Arrays:
        """Tensors in, tensors out."""

    @abstractmethod
    async def predict_rows(self, rows: object, key: str, request: Request) -> Any:
        """JSON rows in, a JSON value out. `key` is `predictions` for answers by row, `outputs` by column."""

    @abstractmethod
    async def predict_raw(self, payload: object, request: Request) -> Any:
        """Bytes of a file or a JSON value in, a JSON value or bytes out."""

    @abstractmethod
    async def tensors(self) -> Tensors:
        """Inputs and outputs for the model's metadata, as far as they are known."""


class PredictorPipeline(Pipeline):
    """A script with `predict`."""

    async def infer(self, inputs: Arrays, request: Request) -> Arrays:
        """Check, predict, check."""
        if self.model.script.streams:
            raise BadRequest("this model streams: use generate_stream, or ModelStreamInfer over gRPC")
        check_inputs(inputs, self.inputs)
        return check_outputs(await self.model.call("predict", inputs, request), self.outputs, "predict")

    async def stream(self, inputs: Arrays, request: Request) -> AsyncIterator[Arrays]:
        """As infer, but every answer of a `predict` that yields; the one answer of a `predict` that returns."""
        if not self.model.script.streams:
            yield await self.infer(inputs, request)
            return
        check_inputs(inputs, self.inputs)
        answers = self.model.stream(inputs, request)
        try:
            async for item in answers:
                yield check_outputs(item, self.outputs, "predict")
        finally:
            await answers.aclose()  # type: ignore[attr-defined]

    async def predict_rows(self, rows: object, key: str, request: Request) -> Any:
        """Rows to tensors by what is declared."""
        return encode_rows(await self.infer(decode_rows(rows, self.inputs), request), key)

    async def predict_raw(self, payload: object, request: Request) -> Any:
        """JSON as v1, or a bare list of rows; a file, where the model has one input, of BYTES."""
        if isinstance(payload, bytes):
            return encode_rows(await self.infer(self._file(payload, request), request), "outputs")
        rows, key = (payload, "predictions") if isinstance(payload, list) else rows_of(payload)
        answer = await self.predict_rows(rows, key, request)
        return answer if isinstance(payload, list) else {key: answer}

    def _file(self, payload: bytes, request: Request) -> Arrays:
        if [tensor.datatype for tensor in self.inputs] != ["BYTES"]:
            raise ServingError(
                f"this model takes {describe(self.inputs) or 'tensors'}, not {request.content_type or 'a file'}: "
                "send JSON, or put a transformer in front of it",
                status=415,
            )
        array = np.empty(1, dtype=np.object_)
        array[0] = payload
        return {self.inputs[0].name: array.reshape((1,) * len(self.inputs[0].shape))}

    async def tensors(self) -> Tensors:
        """What the class declares."""
        return self.inputs, self.outputs


class TransformerPipeline(Pipeline):
    """A script with `preprocess`, `postprocess` or both, and the predictor behind it."""

    def __init__(self, model: Model, client: PredictorClient) -> None:
        super().__init__(model)
        self._client = client
        self.is_connected = False

    async def connect(self) -> None:
        """Until the predictor was reached once. From then on requests are the ones to tell whether it is there."""
        await self._client.wait_until_reached()
        await self._require_fit()
        self.is_connected = True

    async def _require_fit(self) -> None:
        """ScriptError where the class says what its model takes and gives, and the model says otherwise."""
        script = self.model.script
        if not (script.model_inputs or script.model_outputs):
            return
        model = await self._client.find_model()
        takes, gives = await self._client.learn_tensors()
        problems = [
            find_disagreement(model, script.model_inputs, takes, outputs=False),
            find_disagreement(model, script.model_outputs, gives, outputs=True),
        ]
        if any(problems):
            raise ScriptError("; ".join(filter(None, problems)))

    async def infer(self, inputs: Arrays, request: Request) -> Arrays:
        """Tensors to preprocess, arrays from postprocess."""
        check_inputs(inputs, self.inputs)
        return check_outputs(await self._run(inputs, request), self.outputs, "postprocess")

    async def _run(self, payload: object, request: Request) -> Any:
        tensors = await self.preprocess(payload, request)
        try:
            outputs = await self._client.infer(tensors, request)
        except ServingError as error:
            raise await self._blame(error, tensors, payload) from error
        return await self.model.call("postprocess", outputs, request) if self.model.has("postprocess") else outputs

    async def _blame(self, error: ServingError, sent: Arrays, payload: object) -> ServingError:
        """What to tell of a refusal: that of tensors which preprocess made, and the model can't take, is our fault."""
        if error.status != HTTPStatus.BAD_REQUEST or not self.model.has("preprocess"):
            return error
        taken = (await self._client.tensors())[0]
        given = payload if isinstance(payload, dict) else {}
        misfits = [name for name in find_misfits(sent, taken) if not _is_same(given.get(name), sent[name])]
        if not misfits:
            return error
        told = describe_misfit(await self._client.find_model(), {name: sent[name] for name in misfits}, taken)
        logger.error("%s (%s)", told, error.message)
        return ServingError(told, status=HTTPStatus.INTERNAL_SERVER_ERROR, reason=MISFIT)

    async def preprocess(self, payload: object, request: Request) -> Arrays:
        """The tensors for the predictor; without a preprocess, the payload is them."""
        result = await self.model.call("preprocess", payload, request) if self.model.has("preprocess") else payload
        declared: Sequence[Tensor] = self.model.script.model_inputs
        if not declared and not isinstance(result, dict):
            declared = (await self._client.tensors())[0]
        tensors = check_outputs(result, declared if self.model.has("preprocess") else (), "preprocess")
        if not tensors:
            raise ModelFault("preprocess returned no tensors")
        return tensors

    async def predict_rows(self, rows: object, key: str, request: Request) -> Any:
        """Rows to preprocess as they are; without one, to tensors by what is declared here or by the predictor."""
        if not self.model.has("preprocess"):
            rows = decode_rows(rows, self.inputs or (await self._client.tensors())[0])
        answer = await self._run(rows, request)
        return answer if self.model.has("postprocess") else encode_rows(answer, key)

    async def predict_raw(self, payload: object, request: Request) -> Any:
        """The whole body to preprocess; without one, JSON rows as in v1."""
        if self.model.has("preprocess"):
            answer = await self._run(payload, request)
            return answer if self.model.has("postprocess") else encode_rows(answer, "outputs")
        if isinstance(payload, bytes):
            raise ServingError("this transformer has no preprocess, which could read a file: send JSON", status=415)
        rows, key = (payload, "predictions") if isinstance(payload, list) else rows_of(payload)
        answer = await self.predict_rows(rows, key, request)
        return answer if isinstance(payload, list) or self.model.has("postprocess") else {key: answer}

    async def tensors(self) -> Tensors:
        """What the class declares; where it leaves a side alone, what the predictor says."""
        if self.inputs and self.outputs:
            return self.inputs, self.outputs
        theirs = await self._client.tensors()
        inputs = self.inputs or (() if self.model.has("preprocess") else theirs[0])
        return inputs, self.outputs or (() if self.model.has("postprocess") else theirs[1])


def _is_same(given: object, sent: Array) -> bool:
    """Whether a client gave it as it was sent on."""
    return isinstance(given, np.ndarray) and given.dtype == sent.dtype and given.shape == sent.shape
