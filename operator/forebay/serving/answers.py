"""The frame of every REST request: count it, give it up when its client does, and answer errors in the v2 form."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from forebay.serving.errors import ModelFault, ServingError, answer_to
from forebay.serving.request import Protocol, Request
from forebay.serving.service import Service

Handler = Callable[[Service, HttpRequest], Awaitable[Response]]
# Envoy's router says here how long it will wait for us.
_DEADLINE_HEADER = "x-envoy-expected-rq-timeout-ms"


def answered(handler: Handler, *, protocol: str = "") -> Callable[[HttpRequest], Awaitable[Response]]:
    """A handler whose errors become answers. With a protocol, requests are counted as predictions too."""

    async def answer(http_request: HttpRequest) -> Response:
        service: Service = http_request.app.state.service
        if not protocol:
            return await _answer(handler, service, http_request)
        with service.working(protocol) as outcome:
            response = await _answer(handler, service, http_request)
            outcome.status = response.status_code
            return response

    return answer


async def _answer(handler: Handler, service: Service, http_request: HttpRequest) -> Response:
    try:
        return await handler(service, http_request)
    except Exception as error:  # noqa: BLE001 - answer_to logs what is not an answer
        return error_response(answer_to(error, http_request.headers.get("x-request-id", "")))


def error_response(error: ServingError) -> Response:
    """An error as the v2 protocol has it."""
    return JSONResponse({"error": error.message}, error.status, error.headers)


async def while_connected(http_request: HttpRequest, work: Awaitable[Any]) -> Any:
    """Wait for the work; cancel it when the client goes away. To be called once the body has been read."""
    service: Service = http_request.app.state.service
    task = asyncio.ensure_future(work)
    service.tasks.add(task)
    gone = asyncio.ensure_future(_disconnected(http_request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ServingError("the client went away", status=499)
        if task.cancelled() and service.is_draining:
            raise ServingError(f"{service.unready_reason}, and this took too long", status=503, retry_after="1")
        if task.cancelled():
            raise ModelFault("the script cancelled its own task")
        return task.result()
    finally:
        service.tasks.discard(task)
        task.cancel()
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task, gone})


async def _disconnected(http_request: HttpRequest) -> None:
    while (await http_request.receive())["type"] != "http.disconnect":
        pass


def script_request(
    http_request: HttpRequest,
    protocol: Protocol,
    *,
    request_id: str = "",
    parameters: Mapping[str, Any],
    content_type: str = "",
) -> Request:
    """What the script is told about a REST request."""
    headers = http_request.headers
    timeout_ms = headers.get(_DEADLINE_HEADER, "")
    deadline = time.monotonic() + int(timeout_ms) / 1000 if timeout_ms.isdigit() and len(timeout_ms) < 12 else None
    return Request(
        id=request_id or headers.get("x-request-id") or secrets.token_hex(8),
        headers=headers,
        parameters=parameters,
        content_type=content_type or headers.get("content-type", ""),
        protocol=protocol,
        deadline=deadline,
    )
