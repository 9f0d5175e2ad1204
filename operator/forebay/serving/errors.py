"""The answers that are not a success, and what they are called in REST and in gRPC."""

import logging
import secrets
from types import TracebackType

from forebay.serving.source import MODULE_NAME

logger = logging.getLogger("forebay.serving")

REASON_HEADER = "x-forebay-reason"
RETRY_HEADER = "retry-after"

# REST status -> name of the gRPC status. Read backwards too, for what a predictor answers.
GRPC_STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    413: "OUT_OF_RANGE",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class ServingError(Exception):
    """An answer other than a success.

    `status` is the REST status, `reason` goes into the header x-forebay-reason, `retry_after` into Retry-After.
    """

    def __init__(
        self, message: str, *, status: int = 500, reason: str | None = None, retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    @property
    def grpc_status(self) -> str:
        """Name of the gRPC status that means the same."""
        return GRPC_STATUS.get(self.status, "INTERNAL")

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer (REST), or its trailing metadata (gRPC)."""
        pairs = {REASON_HEADER: self.reason, RETRY_HEADER: self.retry_after}
        return {name: value for name, value in pairs.items() if value}


class BadRequest(ServingError):  # noqa: N818 - the name of the answer, which scripts raise
    """The client's request is at fault: 400 and INVALID_ARGUMENT, with this message. A script may raise it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=400)


class ModelFault(ServingError):  # noqa: N818
    """The script broke its contract, as by returning what was not declared. Clients see a 500 with an id only."""


def quote(text: object, limit: int = 80) -> str:
    """What a client sent, cut and quoted, for a message."""
    shown = repr(text)
    return shown if len(shown) <= limit else f"{shown[:limit]}..."


def answer_to(error: BaseException, request_id: str = "") -> ServingError:
    """What a client is told about an exception. What is our or the script's fault goes to the log, with an id."""
    if isinstance(error, ServingError) and not isinstance(error, ModelFault):
        return error
    error_id = secrets.token_hex(6)
    told = "error %s in request %s: %s"
    logger.error(told, error_id, request_id or "without an id", error, exc_info=describe_fault(error))
    return ServingError(f"internal error {error_id}: the server's log says more under this id")


Fault = tuple[type[BaseException], BaseException, TracebackType | None]


def describe_fault(error: BaseException) -> Fault | None:
    """What a log shows of a script's exception, from the script's first line on; nothing of a broken contract."""
    cause = error.__cause__ if isinstance(error, ModelFault) else error
    if cause is None:
        return None
    frame = cause.__traceback__
    while frame and frame.tb_frame.f_globals.get("__name__") != MODULE_NAME:
        frame = frame.tb_next
    return type(cause), cause, frame or cause.__traceback__
