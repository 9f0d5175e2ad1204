"""The REST side: the v2 and v1 protocols, /predict, health, metrics and docs."""

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from forebay.serving.answers import Handler, answered, error_response, script_request, while_connected
from forebay.serving.docs import build_docs_routes
from forebay.serving.errors import ServingError
from forebay.serving.generate import generate, generate_stream
from forebay.serving.metadata import describe_config, describe_model, describe_server
from forebay.serving.metrics import render_metrics
from forebay.serving.payload import decode_payload, read_body
from forebay.serving.rows import dump_json, rows_of
from forebay.serving.service import VERSION, Service
from forebay.serving.v2 import HEADER_LENGTH, decode_request, encode_response, load_json


def build_app(service: Service) -> Starlette:
    """The REST application of one served model."""
    app = Starlette(routes=_build_routes(), exception_handlers={HTTPException: _answer_unrouted})
    app.state.service = service
    return app


def _build_routes() -> list[BaseRoute]:
    model = "/v2/models/{model}"
    gets: dict[str, Handler] = {
        "/v2": server_metadata, "/v2/": server_metadata, "/v2/health/live": live, "/v2/health/ready": ready,
        "/metrics": metrics, "/v1/models": list_models, "/v1/models/{model}": model_status,
    }  # fmt: skip
    posts: dict[str, tuple[str, Handler]] = {
        "/v2/repository/index": ("", repository_index), "/v1/models/{model}:predict": ("v1", predict_v1),
        "/predict": ("raw", predict),
    }  # fmt: skip
    for base in (model, f"{model}/versions/{{version}}"):
        gets |= {base: model_metadata, f"{base}/ready": model_ready, f"{base}/config": model_config}
        posts |= {
            f"{base}/infer": ("v2", infer),
            f"{base}/generate": ("v2", generate),
            f"{base}/generate_stream": ("v2", generate_stream),
        }
    routes: list[BaseRoute] = [Route("/", lambda _: RedirectResponse("docs"))]
    # POST first: `/v1/models/{model}` would take `/v1/models/NAME:predict` too.
    routes += [Route(path, answered(h, protocol=name), methods=["POST"]) for path, (name, h) in posts.items()]
    routes += [Route(path, answered(handler), methods=["GET"]) for path, handler in gets.items()]
    return routes + build_docs_routes()


async def _answer_unrouted(_: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "there is nothing at this path: see /docs", 405: "this path takes another method: see /docs"}
    return error_response(ServingError(text.get(status, "the request cannot be answered"), status=status))


def check_target(service: Service, request: HttpRequest) -> None:
    """ServingError unless the path names the served model, and it is loaded."""
    service.check_model(request.path_params["model"], request.path_params.get("version", ""))
    service.check_loaded()


async def infer(service: Service, request: HttpRequest) -> Response:
    """v2: tensors in, tensors out, as JSON or binary."""
    check_target(service, request)
    body = await read_body(request, service.max_request_bytes)
    decoded = decode_request(body, request.headers.get(HEADER_LENGTH))
    asked = script_request(request, "v2", request_id=decoded.id, parameters=decoded.parameters)
    outputs = await while_connected(request, service.pipeline.infer(decoded.inputs, asked))
    pieces, header_length = encode_response(service.name, decoded, outputs)
    if header_length is None:
        return Response(pieces[0], media_type="application/json")
    headers = {HEADER_LENGTH: str(header_length)}
    return Response(b"".join(pieces), headers=headers, media_type="application/octet-stream")


async def predict_v1(service: Service, request: HttpRequest) -> Response:
    """v1: rows in, predictions out."""
    check_target(service, request)
    rows, key = rows_of(load_json(await read_body(request, service.max_request_bytes)))
    asked = script_request(request, "v1", parameters=dict(request.query_params))
    answer = await while_connected(request, service.pipeline.predict_rows(rows, key, asked))
    wrapped = answer if isinstance(answer, dict) and key in answer else {key: answer}
    return Response(dump_json(wrapped), media_type="application/json")


async def predict(service: Service, request: HttpRequest) -> Response:
    """Whatever the user's client has: an image's bytes, a form with a file, JSON."""
    service.check_loaded()
    body = await read_body(request, service.max_request_bytes)
    payload, content_type, fields = await decode_payload(request.headers, body)
    parameters = dict(request.query_params) | fields
    asked = script_request(request, "raw", parameters=parameters, content_type=content_type)
    answer = await while_connected(request, service.pipeline.predict_raw(payload, asked))
    if isinstance(answer, bytes):
        return Response(answer, media_type="application/octet-stream")
    return Response(dump_json(answer), media_type="application/json")


async def live(_: Service, __: HttpRequest) -> Response:
    """The process answers."""
    return JSONResponse({"live": True})


async def ready(service: Service, _: HttpRequest) -> Response:
    """The model is loaded, and the server not on its way out: 200, otherwise 503 with the reason."""
    if service.is_ready:
        return JSONResponse({"ready": True})
    return JSONResponse({"ready": False, "error": service.unready_reason}, 503)


async def model_ready(service: Service, request: HttpRequest) -> Response:
    """As ready, of the named model."""
    service.check_model(request.path_params["model"], request.path_params.get("version", ""))
    return await ready(service, request)


async def server_metadata(_: Service, __: HttpRequest) -> Response:
    """Name, version and extensions of the server."""
    return JSONResponse(describe_server())


async def model_metadata(service: Service, request: HttpRequest) -> Response:
    """Inputs and outputs of the model."""
    return await _describe(service, request, describe_model)


async def model_config(service: Service, request: HttpRequest) -> Response:
    """Triton's model configuration, as much of it as there is here."""
    return await _describe(service, request, describe_config)


async def _describe(service: Service, request: HttpRequest, describe: Callable[..., Any]) -> Response:
    service.check_model(request.path_params["model"], request.path_params.get("version", ""))
    return JSONResponse(describe(service, await service.pipeline.tensors()))


async def list_models(service: Service, _: HttpRequest) -> Response:
    """v1: names of the models."""
    return JSONResponse({"models": [service.name]})


async def model_status(service: Service, request: HttpRequest) -> Response:
    """v1: whether the model is ready."""
    service.check_model(request.path_params["model"])
    return JSONResponse({"name": service.name, "ready": service.is_ready}, 200 if service.is_ready else 503)


async def repository_index(service: Service, _: HttpRequest) -> Response:
    """Triton's list of models."""
    state = "READY" if service.is_ready else "UNAVAILABLE"
    entry = {"name": service.name, "version": VERSION, "state": state, "reason": service.unready_reason}
    return JSONResponse([entry])


async def metrics(_: Service, __: HttpRequest) -> Response:
    """Prometheus metrics."""
    text, content_type = render_metrics()
    return Response(text, headers={"content-type": content_type})
