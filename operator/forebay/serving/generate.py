"""Triton's generate extension: a flat JSON object in; JSON out, or a stream of server-sent events."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from forebay.serving.answers import script_request, while_connected
from forebay.serving.errors import BadRequest, ServingError, answer_to
from forebay.serving.payload import read_body
from forebay.serving.pipeline import PredictorPipeline
from forebay.serving.request import Request
from forebay.serving.rows import decode_rows, dump_json, encode_rows
from forebay.serving.service import VERSION, Service
from forebay.serving.tensors import Arrays
from forebay.serving.v2 import load_object


async def generate(service: Service, request: HttpRequest) -> Response:
    """One answer: `{"text_input": "..."}` to `{"text_output": "..."}`. A streaming model must give exactly one."""
    inputs, asked = await _read(service, request)
    answers = await while_connected(request, _collect(service, inputs, asked))
    if len(answers) != 1:
        raise BadRequest(f"the model gave {len(answers)} answers: use generate_stream")
    return Response(dump_json(_flat(service, answers[0])), media_type="application/json")


async def _collect(service: Service, inputs: Arrays, asked: Request) -> list[Arrays]:
    return [answer async for answer in _pipeline(service).stream(inputs, asked)]


async def generate_stream(service: Service, request: HttpRequest) -> Response:
    """One server-sent event for each answer. An error before the first is an error answer, later it is an event."""
    inputs, asked = await _read(service, request)
    answers = _pipeline(service).stream(inputs, asked)
    first = await while_connected(request, anext(answers, None))
    return StreamingResponse(_events(service, first, answers), media_type="text/event-stream")


async def _events(service: Service, first: Arrays | None, answers: AsyncIterator[Arrays]) -> AsyncIterator[bytes]:
    with service.working("stream") as outcome:
        try:
            if first is not None:
                yield _event(_flat(service, first))
            async for answer in answers:
                yield _event(_flat(service, answer))
            outcome.status = 200
        except Exception as error:  # noqa: BLE001 - answer_to logs what is not an answer
            refusal = answer_to(error)
            outcome.status = refusal.status
            yield _event({"error": refusal.message})
        finally:
            await answers.aclose()  # type: ignore[attr-defined]


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + dump_json(document) + b"\n\n"


def _pipeline(service: Service) -> PredictorPipeline:
    if not isinstance(service.pipeline, PredictorPipeline):
        raise ServingError("a transformer does not stream: call /predict, or its predictor", status=501)
    return service.pipeline


async def _read(service: Service, request: HttpRequest) -> tuple[Arrays, Request]:
    service.check_model(request.path_params["model"], request.path_params.get("version", ""))
    service.check_loaded()
    document = load_object(await read_body(request, service.max_request_bytes))
    parameters = document.pop("parameters", {})
    if not isinstance(parameters, dict):
        raise BadRequest("parameters must be a JSON object")
    declared = service.pipeline.inputs
    names = {tensor.name for tensor in declared}
    if declared:  # as in Triton: what is no input is a parameter
        parameters |= {name: value for name, value in document.items() if name not in names}
        document = {name: value for name, value in document.items() if name in names}
    rows = {name: value if isinstance(value, list) else [value] for name, value in document.items()}
    return decode_rows(rows, declared), script_request(request, "v2", parameters=parameters)


def _flat(service: Service, outputs: Arrays) -> dict[str, Any]:
    columns = {name: encode_rows({name: array}, "outputs") for name, array in outputs.items()}
    single = {
        name: value[0] if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list) else value
        for name, value in columns.items()
    }
    return {"model_name": service.name, "model_version": VERSION, **single}
