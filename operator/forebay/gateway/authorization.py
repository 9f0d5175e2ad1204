"""What Envoy asks the pilot for each request of a route on hold, and what it is told."""

import time
from typing import Any

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3 import external_auth_pb2_grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.rpc.status_pb2 import Status

from forebay.gateway.holder import Holder
from forebay.gateway.holds import Pass, Verdict
from forebay.plan.envoy_hold import HELD_ROUTE
from forebay.plan.envoy_replies import Refusal, build_body, build_refusal_headers
from forebay.plan.names import HELD_FOR_HEADER

_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


class AuthorizationServer(external_auth_pb2_grpc.AuthorizationServicer):  # type: ignore[misc]
    """Answers when the request may go on. A client that leaves cancels the call."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    async def Check(self, request: CheckRequest, _: Any) -> CheckResponse:  # noqa: N802
        """Hold one request."""
        attributes = request.attributes
        # A pilot that was started anew is asked again: the request's time goes on.
        begun = attributes.request.time
        age_s = max(0.0, time.time() - begun.seconds - begun.nanos / 1e9) if begun.seconds else 0.0
        verdict = await self._holder.wait(attributes.context_extensions[HELD_ROUTE], age_s=age_s)
        is_grpc = attributes.request.http.headers.get("content-type", "").startswith("application/grpc")
        return build_answer(verdict, is_grpc=is_grpc)


def build_answer(verdict: Verdict, *, is_grpc: bool) -> CheckResponse:
    """What Envoy is told."""
    if isinstance(verdict, Pass):
        headers = [_build_header(HELD_FOR_HEADER, verdict.cluster)]
        return CheckResponse(status=Status(code=0), ok_response=OkHttpResponse(headers=headers))
    return CheckResponse(status=Status(code=verdict.grpc_status), denied_response=_build_denial(verdict, is_grpc))


def _build_denial(refusal: Refusal, is_grpc: bool) -> DeniedHttpResponse:
    headers = build_refusal_headers(refusal, is_grpc=is_grpc)
    return DeniedHttpResponse(
        status=HttpStatus(code=refusal.status),
        headers=[_build_header(name, value) for name, value in headers.items()],
        body=refusal.message if is_grpc else build_body(reason=refusal.reason, message=refusal.message),
    )


def _build_header(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(header=HeaderValue(key=name, value=value), append_action=_OVERWRITE)
