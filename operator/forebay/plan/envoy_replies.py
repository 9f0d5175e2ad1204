"""What Forebay answers itself: the reason in a header, a sentence in a JSON body or in the gRPC status."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from forebay.plan.envoy import MAX_BODY_BYTES, Json, build_header
from forebay.plan.envoy_hold import UNANSWERED_STATUS
from forebay.plan.names import API_KEY_HEADERS, ASKED_REVISION_HEADER, REASON_HEADER, RETRY_HEADER


@dataclass(frozen=True)
class LocalReply:
    """Takes the place of an answer that Envoy gives by itself.

    `flags` are Envoy's response flags; without them it is every answer with the same status. With `found`, Envoy's own
    status must be that, too. `retry` asks for another instance to be tried. `tried_before` is for what has failed on
    another instance already. `without` are headers that the request must not have, `needs` those that it must.
    """

    flags: tuple[str, ...]
    status: int
    grpc_status: int
    reason: str
    message: str
    retry: bool = False
    tried_before: bool = False
    without: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    # Trying again is of use.
    is_passing: bool = True
    found: int = 0


_HOW_TO_SEND = "send it as `x-api-key: KEY` or `authorization: Bearer KEY`"
_FULL = "the queue of this instance is full: try again later"
_FAILED = "the model server of this instance failed"
_DIED = ("UC", "UR", "LR", "UPE")

QUEUE_FULL = LocalReply(("UO",), 429, 8, "queue-full", _FULL, retry=True)
TIMEOUT = LocalReply(("UT", "SI", "DT"), 504, 4, "timeout", "the request was not answered within queue.timeout")
NOT_REACHED = LocalReply(("UF",), 503, 14, "instance-failed", _FAILED, retry=True)
# A request that ends one instance after the other must not end them all.
DIED_AGAIN = LocalReply(_DIED, 503, 14, "instance-failed", _FAILED, tried_before=True)
DIED = LocalReply(_DIED, 503, 14, "instance-failed", _FAILED, retry=True)
NO_INSTANCE = LocalReply(("UH", "NC"), 503, 14, "no-instance", "no instance is ready: try again later")
TOO_LARGE = LocalReply((), 413, 11, "too-large", f"the body is larger than {MAX_BODY_BYTES >> 20} MiB")
REPLIES = (QUEUE_FULL, TIMEOUT, NOT_REACHED, DIED_AGAIN, DIED, NO_INSTANCE, TOO_LARGE)

NO_API_KEY = LocalReply((), 401, 16, "no-api-key", f"an API key is needed: {_HOW_TO_SEND}", without=API_KEY_HEADERS)
WRONG_API_KEY = LocalReply((), 401, 16, "wrong-api-key", f"this is no API key of this ModelDeployment: {_HOW_TO_SEND}")
# Its Retry-After is the limit's own, which the filter sets.
RATE_LIMIT = LocalReply((), 429, 8, "rate-limit", "the rate limit of this ModelDeployment is used up: try again later")
_AWAY = "the gateway's pilot, which holds requests until an instance has started, does not answer: try again later"
PILOT_AWAY = LocalReply(("UAEX",), 503, 14, "pilot-away", _AWAY, found=UNANSWERED_STATUS)
_ALONE = (
    "one revision has all requests, and it isn't the one that is asked for: leave the header forebay-revision out, or "
    "wait until a rollout by steps or blueGreen is under way"
)
# No route of the deployment takes the header.
NO_REVISION = LocalReply(("NR",), 404, 5, "no-such-revision", _ALONE, needs=(ASKED_REVISION_HEADER,), is_passing=False)
_DRILL = "this is a drill (spec.drill)"
DRILL_DOWN = LocalReply(("FI",), 503, 14, "no-instance", f"no instance is ready: {_DRILL}", found=503)
DRILL_FULL = LocalReply(("FI",), 429, 8, "queue-full", f"the queues of all instances are full: {_DRILL}", found=429)
# A gateway has no queue, so that there a 429 of its own is the rate limit's.
GATEWAY_REPLIES = (
    DRILL_DOWN,
    DRILL_FULL,
    *REPLIES,
    NO_API_KEY,
    WRONG_API_KEY,
    RATE_LIMIT,
    PILOT_AWAY,
    NO_REVISION,
)


def build_mappers(replies: Sequence[LocalReply] = REPLIES) -> list[Json]:
    """The local reply mappers of a connection manager, for gRPC and for REST."""
    return [mapper for reply in replies for mapper in (_build_grpc_mapper(reply), _build_rest_mapper(reply))]


def _build_grpc_mapper(reply: LocalReply) -> Json:
    content_type = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    return {
        "filter": _build_all([*_build_filters(reply), {"header_filter": {"header": content_type}}]),
        "status_code": reply.status,
        # Envoy's own mapping would make UNAVAILABLE of 429 and of 504.
        "headers_to_add": [*_build_headers(reply), build_header("grpc-status", str(reply.grpc_status))],
        "body_format_override": {"text_format_source": {"inline_string": reply.message}},
    }


def _build_rest_mapper(reply: LocalReply) -> Json:
    return {
        "filter": _build_all(_build_filters(reply)),
        "status_code": reply.status,
        "headers_to_add": _build_headers(reply),
        "body_format_override": {"json_format": {"error": reply.message, "reason": reply.reason}},
    }


def _build_filters(reply: LocalReply) -> list[Json]:
    status = {"default_value": reply.found or reply.status, "runtime_key": f"local_reply.{reply.reason}"}
    found = {"status_code_filter": {"comparison": {"op": "EQ", "value": status}}}
    if not reply.flags:
        absent = ({"name": name, "present_match": True, "invert_match": True} for name in reply.without)
        return [found, *({"header_filter": {"header": header}} for header in absent)]
    flags = {"response_flag_filter": {"flags": list(reply.flags)}}
    if reply.found:
        return [flags, found]
    if reply.needs:
        return [flags, *({"header_filter": {"header": {"name": name, "present_match": True}}} for name in reply.needs)]
    attempt = {"name": "x-envoy-attempt-count", "string_match": {"safe_regex": {"regex": "[2-9]"}}}
    return [flags, {"header_filter": {"header": attempt}}] if reply.tried_before else [flags]


def _build_all(filters: Sequence[Json]) -> Json:
    return {"and_filter": {"filters": list(filters)}} if len(filters) > 1 else filters[0]


def _build_headers(reply: LocalReply) -> list[Json]:
    headers = [build_header(REASON_HEADER, reply.reason)]
    if reply.retry:
        headers.append(build_header(RETRY_HEADER, "other-instance"))
    # What is too large once is too large again.
    return [*headers, build_header("retry-after", "1")] if reply.flags and reply.is_passing else headers


def build_refusal(status: int, *, reason: str, message: str) -> Json:
    """The action of a route that answers by itself, with Forebay's body and reason header."""
    body = {"inline_string": build_body(reason=reason, message=message)}
    return {
        "direct_response": {"status": status, "body": body},
        "response_headers_to_add": [
            build_header(REASON_HEADER, reason),
            build_header("content-type", "application/json"),
        ],
    }


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What a route answers by itself, to REST and to gRPC."""

    status: int
    grpc_status: int
    reason: str
    message: str
    # 0: trying again is of no use.
    retry_after_s: int = 0


def build_refusal_headers(refusal: Refusal, *, is_grpc: bool) -> dict[str, str]:
    """The headers of a refusal. Envoy would make another gRPC status of the HTTP one."""
    after = {"retry-after": str(refusal.retry_after_s)} if refusal.retry_after_s else {}
    kind = {"grpc-status": str(refusal.grpc_status)} if is_grpc else {"content-type": "application/json"}
    return {REASON_HEADER: refusal.reason, **after, **kind}


def build_body(*, reason: str, message: str) -> str:
    """The JSON of a refusal; gRPC gets the sentence alone."""
    return json.dumps({"error": message, "reason": reason}) + "\n"


def build_refusal_routes(match: Json, refusal: Refusal) -> list[Json]:
    """Two routes of one match: gRPC gets the sentence in its status, everybody else JSON."""
    headers = [build_header(REASON_HEADER, refusal.reason)]
    if refusal.retry_after_s:
        headers.append(build_header("retry-after", str(refusal.retry_after_s)))
    body = {"inline_string": refusal.message}
    rest = build_refusal(refusal.status, reason=refusal.reason, message=refusal.message)
    return [
        {
            "match": {**match, "grpc": {}},
            "direct_response": {"status": refusal.status, "body": body},
            "response_headers_to_add": [*headers, build_header("grpc-status", str(refusal.grpc_status))],
        },
        {"match": match, **rest, "response_headers_to_add": [*rest["response_headers_to_add"], *headers[1:]]},
    ]
