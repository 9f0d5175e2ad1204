"""A transformer's calls to its predictor, over gRPC. What the predictor refuses is refused with the same meaning."""

import asyncio
import contextlib
import time
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from forebay.serving.errors import GRPC_STATUS, REASON_HEADER, RETRY_HEADER, BadRequest, ModelFault, ServingError
from forebay.serving.metrics import STAGE_SECONDS
from forebay.serving.protobuf import decode_metadata, decode_tensors, encode_request
from forebay.serving.request import Request
from forebay.serving.tensors import Arrays, Tensor

# Headers that tie the spans and log lines of one prediction together.
TRACE_HEADERS = ("traceparent", "tracestate", "x-request-id", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled")
# What of a predictor's answers is the client's business; other statuses mean that our side is broken.
_PASSED_ON = {GRPC_STATUS[status]: status for status in (400, 429, 503, 504)} | {"CANCELLED": 503}
# A proxy's refusal may reach gRPC as no more than one of these; then the queue's reason says what it was.
_VAGUE = ("UNAVAILABLE", "UNKNOWN")
_BY_REASON = {"queue-full": 429, "timeout": 504, "instance-failed": 503}
_LOOKUP_TIMEOUT_S = 2.0
_UNREACHED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_RETRY_S = 0.2
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC's own pause grows to two minutes, for which a predictor that is back would be called away.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class PredictorClient:
    """The predictor behind a transformer, at `address` (host:port of its gRPC)."""

    def __init__(self, address: str, *, model: str | None, default_model: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._model = model
        self._default_model = default_model
        self._tensors: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None = None

    async def infer(self, inputs: Arrays, request: Request) -> Arrays:
        """Predict, within the client's deadline. ServingError with the predictor's status and reason where it can't."""
        parameters = {} if request.protocol != "v2" else dict(request.parameters)
        parameters.pop("binary_data_output", None)  # says how the client wants our answer, not what is asked
        message = encode_request(await self.find_model(), request.id, inputs, parameters)
        metadata = [(name, request.headers[name]) for name in TRACE_HEADERS if name in request.headers]
        started = time.perf_counter()
        try:
            answer = await self._stub.ModelInfer(message, metadata=metadata, timeout=request.remaining_s())
        except grpc.aio.AioRpcError as error:
            raise _refusal(error) from error
        finally:
            STAGE_SECONDS.labels("predictor").observe(time.perf_counter() - started)
        try:
            return decode_tensors(answer.outputs, answer.raw_output_contents)
        except BadRequest as error:
            raise ModelFault(f"the predictor's answer cannot be read: {error}") from error

    async def wait_until_reached(self) -> None:
        """Until the predictor is there. Whatever it answers, it does: only nobody's answer is none."""
        while True:
            try:
                await self._stub.ServerReady(pb.ServerReadyRequest(), timeout=_LOOKUP_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _UNREACHED:
                    return
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def tensors(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The predictor's inputs and outputs; empty where it cannot say."""
        if self._tensors is None:
            with contextlib.suppress(grpc.aio.AioRpcError):  # asked again next time
                await self._ask_tensors()
        return self._tensors or ((), ())

    async def learn_tensors(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The same, once the model itself can be asked; empty where it never will say."""
        while self._tensors is None:
            try:
                await self._ask_tensors()
            except grpc.aio.AioRpcError as error:
                if error.code() not in _UNREACHED:
                    return (), ()
                await asyncio.sleep(_RETRY_S)
        return await self.tensors()

    async def _ask_tensors(self) -> None:
        query = pb.ModelMetadataRequest(name=await self.find_model())
        answer = await self._stub.ModelMetadata(query, timeout=_LOOKUP_TIMEOUT_S)
        self._tensors = decode_metadata(answer.inputs), decode_metadata(answer.outputs)

    async def find_model(self) -> str:
        """The model's name: given, or the only one of the predictor, or else the transformer's own."""
        if self._model is None:
            try:
                index = await self._stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=_LOOKUP_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    return self._default_model  # not there yet: asked again next time
                index = pb.RepositoryIndexResponse()  # the queue does not let this question through
            names = {model.name for model in index.models}
            self._model = names.pop() if len(names) == 1 else self._default_model
        return self._model

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _refusal(error: grpc.aio.AioRpcError) -> ServingError:
    headers = {str(key): value for pairs in _metadata(error) for key, value in pairs}
    if "larger than max" in (error.details() or ""):  # gRPC's own limit, which no retry gets past
        return ServingError(f"predictor: {error.details()}", status=413)
    status = _PASSED_ON.get(error.code().name)
    if error.code().name in _VAGUE:
        status = _BY_REASON.get(headers.get(REASON_HEADER, ""), status)
    if status is None:
        return ModelFault(f"the predictor answered {error.code().name}: {error.details()}")
    retry_after = headers.get(RETRY_HEADER) or ("1" if status in (429, 503) else None)
    message = f"predictor: {error.details() or error.code().name}"
    return ServingError(message, status=status, reason=headers.get(REASON_HEADER), retry_after=retry_after)


def _metadata(error: grpc.aio.AioRpcError) -> list[Any]:
    return [pairs for pairs in (error.initial_metadata(), error.trailing_metadata()) if pairs]
