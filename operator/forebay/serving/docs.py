"""Swagger UI at /docs, from assets that come with us, over an OpenAPI document of the served model."""

import math
from typing import Any

import numpy as np
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from forebay.serving.metadata import server_version
from forebay.serving.service import Service
from forebay.serving.tensors import Tensor

# A longer example would be no help, and slow the page down.
_LONGEST_EXAMPLE = 1000

# Addresses are relative, so that the page works behind a path of a gateway too.
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>NAME</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css"><link rel="icon" href="docs/assets/favicon-32x32.png"></head>
<body><div id="ui"></div><script src="docs/assets/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "openapi.json", dom_id: "#ui"})</script></body></html>"""


def build_docs_routes() -> list[BaseRoute]:
    """/docs, its assets, and /openapi.json."""
    return [
        Route("/docs", _docs),
        # Starlette's own redirect is absolute, and leaves the gateway's path.
        Route("/docs/", lambda _: RedirectResponse("../docs")),
        Route("/openapi.json", _openapi),
        Mount("/docs/assets", StaticFiles(directory=str(swagger_ui_path))),
    ]


async def _docs(request: HttpRequest) -> Response:
    service: Service = request.app.state.service
    return HTMLResponse(_PAGE.replace("NAME", service.name))


async def _openapi(request: HttpRequest) -> Response:
    return JSONResponse(build_openapi(request.app.state.service))


def build_openapi(service: Service) -> dict[str, Any]:
    """OpenAPI 3.0 of the served model."""
    return {
        "openapi": "3.0.3",
        "info": {
            "title": service.name,
            "version": server_version(),
            "description": f"A {service.pipeline.model.script.role}, served by Forebay. gRPC clients use the Open "
            "Inference Protocol's GRPCInferenceService on the gRPC port.",
        },
        "servers": [{"url": "."}],
        "paths": _build_paths(service),
    }


def _build_paths(service: Service) -> dict[str, Any]:
    """What is served behind the queue, too."""
    model = f"/v2/models/{service.name}"
    tensors, rows = _json(_v2_example(service)), _json({"instances": _rows_example(service)})
    paths = {
        "/predict": {"post": _operation("Predict from a file or JSON", _raw_content(service))},
        f"{model}/infer": {"post": _operation("Predict (v2: tensors)", tensors)},
        f"/v1/models/{service.name}:predict": {"post": _operation("Predict (v1: rows)", rows)},
    }
    if service.pipeline.model.script.streams:
        summary = "Predict, answer by answer (server-sent events)"
        paths[f"{model}/generate_stream"] = {"post": _operation(summary, _json({}))}
    return paths | {
        "/v2": {"get": _operation("Server metadata")},
        model: {"get": _operation("Model metadata")},
        "/v2/health/live": {"get": _operation("Is the process alive")},
        "/v2/health/ready": {"get": _operation("Is the model loaded")},
    }


def _operation(summary: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "The answer"}}
    if content is None:
        return {"summary": summary, "responses": answers}
    error = {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}
    answers |= {
        status: {"description": text, "content": {"application/json": error}}
        for status, text in {
            "400": "The request is at fault; the message says what was expected",
            "429": "Too many requests wait: try again after Retry-After",
            "500": "The model failed; the message has an id under which its log says more",
            "503": "The model is not loaded, or its predictor is away",
        }.items()
    }
    return {"summary": summary, "requestBody": {"required": True, "content": content}, "responses": answers}


def _json(example: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"type": "object"}, "example": example}}


def _raw_content(service: Service) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": binary}}
    example = {"example": _rows_example(service)} if service.pipeline.model.script.role == "predictor" else {}
    return {
        "application/json": {"schema": {}, **example},
        "multipart/form-data": {"schema": form},
        "application/octet-stream": {"schema": binary},
    }


def _v2_example(service: Service) -> dict[str, Any]:
    return {
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": _example_shape(tensor),
                "data": _zeros(tensor).reshape(-1).tolist(),
            }
            for tensor in service.pipeline.inputs
        ]
    }


def _rows_example(service: Service) -> list[Any]:
    """One row, as v1 takes it."""
    inputs = service.pipeline.inputs
    if len(inputs) == 1:
        return list(_zeros(inputs[0]).tolist())
    columns = {tensor.name: _zeros(tensor).tolist() for tensor in inputs}
    return [{name: values[0] if values else [] for name, values in columns.items()}]


def _example_shape(tensor: Tensor) -> list[int]:
    return [abs(size) for size in tensor.shape]


def _zeros(tensor: Tensor) -> np.ndarray[Any, Any]:
    """As JSON has them; empty where they are too many to read."""
    shape = _example_shape(tensor)
    zero: Any = {"BYTES": "", "BOOL": False}.get(tensor.datatype, 0)
    return np.full(shape if math.prod(shape) <= _LONGEST_EXAMPLE else [0], zero, np.object_)
