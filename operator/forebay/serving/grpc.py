"""The gRPC side: the v2 protocol's GRPCInferenceService, over tritonclient's own messages."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
from starlette.datastructures import Headers
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceServicer, add_GRPCInferenceServiceServicer_to_server

from forebay.serving.errors import ServingError, answer_to
from forebay.serving.metadata import describe_config, describe_model, describe_server
from forebay.serving.pipeline import PredictorPipeline
from forebay.serving.protobuf import decode_request, encode_response
from forebay.serving.request import Request
from forebay.serving.service import VERSION, Service
from forebay.serving.v2 import InferRequest, select_outputs

_WANTS_FINAL = "triton_enable_empty_final_response"
_IS_FINAL = "triton_final_response"


def build_grpc_server(service: Service) -> grpc.aio.Server:
    """The gRPC server of one served model; a port must still be added."""
    options = [
        ("grpc.max_receive_message_length", service.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # a port that is taken must be an error
    ]
    server = grpc.aio.server(options=options)
    add_GRPCInferenceServiceServicer_to_server(InferenceServicer(service), server)
    return server


class InferenceServicer(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The calls of the v2 protocol. What is not here (shared memory, traces, loading) is UNIMPLEMENTED."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return pb.ServerReadyResponse(ready=self._service.is_ready)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        await self._check_model(request, context)
        return pb.ModelReadyResponse(ready=self._service.is_ready)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        return pb.ServerMetadataResponse(**describe_server())

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        await self._check_model(request, context)
        return pb.ModelMetadataResponse(**describe_model(self._service, await self._service.pipeline.tensors()))

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        await self._check_model(request, context)
        config = describe_config(self._service, await self._service.pipeline.tensors())
        return pb.ModelConfigResponse(config=model_config_pb2.ModelConfig(**config))

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        state = "READY" if self._service.is_ready else "UNAVAILABLE"
        answer = pb.RepositoryIndexResponse()
        answer.models.add(name=self._service.name, version=VERSION, state=state, reason=self._service.unready_reason)
        return answer

    async def _check_model(self, request: Any, context: Any) -> None:
        try:
            self._service.check_model(request.name, request.version)
        except ServingError as error:
            await _abort(context, error)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Tensors in, tensors out."""
        with self._service.working("grpc") as outcome:
            try:
                decoded, asked = self._decode(request, context)
                outputs = await self._service.pipeline.infer(decoded.inputs, asked)
                answer = encode_response(self._service.name, decoded.id, select_outputs(outputs, decoded.outputs))
            except Exception as error:  # noqa: BLE001 - answer_to logs what is not an answer
                refusal = answer_to(error, request.id)
            else:
                outcome.status = 200
                return answer
            outcome.status = refusal.status
            return await _abort(context, refusal)

    async def ModelStreamInfer(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """For each request that comes, as many answers as the model gives; an error is an answer too."""
        async for request in request_iterator:
            with self._service.working("grpc_stream") as outcome:
                try:
                    async for answer in self._stream(request, context):
                        yield pb.ModelStreamInferResponse(infer_response=answer)
                    outcome.status = 200
                except Exception as error:  # noqa: BLE001 - answer_to logs what is not an answer
                    refusal = answer_to(error, request.id)
                    outcome.status = refusal.status
                    yield pb.ModelStreamInferResponse(
                        error_message=refusal.message, infer_response=pb.ModelInferResponse(id=request.id)
                    )

    async def _stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        decoded, asked = self._decode(request, context)
        pipeline = self._service.pipeline
        if not isinstance(pipeline, PredictorPipeline):
            raise ServingError("a transformer does not stream: call ModelInfer, or its predictor", status=501)
        async for outputs in pipeline.stream(decoded.inputs, asked):
            yield encode_response(self._service.name, decoded.id, select_outputs(outputs, decoded.outputs))
        if decoded.parameters.get(_WANTS_FINAL):
            final = encode_response(self._service.name, decoded.id, {})
            final.parameters[_IS_FINAL].bool_param = True
            yield final

    def _decode(self, request: Any, context: Any) -> tuple[InferRequest, Request]:
        self._service.check_model(request.model_name, request.model_version)
        self._service.check_loaded()
        decoded = decode_request(request)
        headers = Headers(raw=[_as_header(*pair) for pair in context.invocation_metadata() or ()])
        remaining_s = context.time_remaining()
        asked = Request(
            id=decoded.id or headers.get("x-request-id") or secrets.token_hex(8),
            headers=headers,
            parameters=decoded.parameters,
            content_type=headers.get("content-type", "application/grpc"),
            protocol="v2",
            deadline=None if remaining_s is None else time.monotonic() + remaining_s,
        )
        return decoded, asked


def _as_header(name: str, value: str | bytes) -> tuple[bytes, bytes]:
    raw = value if isinstance(value, bytes) else value.encode("latin-1", "replace")
    return name.lower().encode("latin-1"), raw


async def _abort(context: Any, error: ServingError) -> Any:
    await context.abort(grpc.StatusCode[error.grpc_status], error.message, tuple(error.headers.items()))
