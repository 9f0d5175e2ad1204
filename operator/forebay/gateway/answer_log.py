"""Envoy's access log of answers that are compared. What it tells faster than is read here it drops.

The pilot has more to do than to compare: it does so for a fifth of its time at most, and rests between.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage, StreamAccessLogsResponse
from envoy.service.accesslog.v3.als_pb2_grpc import AccessLogServiceServicer
from google.protobuf.duration_pb2 import Duration

from forebay.gateway.comparisons import Answer, Comparisons
from forebay.gateway.metrics import find_http_code
from forebay.plan.envoy_capture import (
    CAPTURE,
    COPIES,
    ENCODING_HEADER,
    GRPC_ENCODING_HEADER,
    LENGTH_HEADER,
    STATUS_HEADER,
)
from forebay.plan.names import REASON_HEADER

# For each second of work so many of rest, in pieces that are worth a timer.
_REST = 4.0
_LEAST_REST_S = 0.02
_PLAIN = "identity"
# What Envoy says of an answer that it ended.
_TOO_LONG = "response_payload_too_large"


class AnswerLog(AccessLogServiceServicer):  # type: ignore[misc]
    """Takes in what Envoy tells, one message at a time, whatever the number of its threads."""

    def __init__(self, comparisons: Comparisons) -> None:
        self._comparisons = comparisons
        self._turn = asyncio.Lock()
        self._rest_s = 0.0

    async def StreamAccessLogs(  # noqa: N802
        self, request_iterator: AsyncIterator[StreamAccessLogsMessage], _: Any
    ) -> StreamAccessLogsResponse:
        """One thread's stream of one log: its first message says which."""
        name = ""
        async for message in request_iterator:
            name = message.identifier.log_name or name
            async with self._turn:
                await self._take(message.http_logs.log_entry, is_copy=name == COPIES)
        return StreamAccessLogsResponse()

    async def _take(self, entries: Iterable[HTTPAccessLogEntry], *, is_copy: bool) -> None:
        for entry in entries:
            # Of this thread alone: a machine that is busy with something else is no reason to do less.
            begun_s = time.thread_time()
            self._comparisons.take(read_answer(entry, is_copy=is_copy))
            self._rest_s += _REST * (time.thread_time() - begun_s)
            is_due = self._rest_s > _LEAST_REST_S
            await asyncio.sleep(self._rest_s if is_due else 0)
            self._rest_s = 0.0 if is_due else self._rest_s


def read_answer(entry: HTTPAccessLogEntry, *, is_copy: bool) -> Answer:
    """What an entry says of an answer."""
    common, response = entry.common_properties, entry.response
    captured = common.metadata.filter_metadata[CAPTURE]
    told = {name: captured[name] for name in captured}
    headers, trailers = response.response_headers, response.response_trailers
    grpc = trailers.get(STATUS_HEADER, "") or headers.get(STATUS_HEADER, "")
    length = headers.get(LENGTH_HEADER, "")
    return Answer(
        id=str(told.get("id", "")),
        request=entry.request.request_id,
        route=common.route_name,
        is_copy=is_copy,
        code=int(find_http_code(str(response.response_code.value), grpc)),
        took_ms=_measure_ms(common.time_to_first_upstream_tx_byte, common.time_to_last_upstream_rx_byte),
        cluster=common.upstream_cluster,
        reason=headers.get(REASON_HEADER, ""),
        body=told.get("body"),
        is_cut=bool(told.get("cut")) or response.response_code_details == _TOO_LONG,
        content_type=headers.get("content-type", ""),
        is_encoded=any(headers.get(each, _PLAIN) != _PLAIN for each in (ENCODING_HEADER, GRPC_ENCODING_HEADER)),
        header_length=int(length) if length.isascii() and length.isdigit() else None,
    )


def _measure_ms(begin: Duration, end: Duration) -> float:
    return float(max(0.0, (end.seconds - begin.seconds) * 1e3 + (end.nanos - begin.nanos) / 1e6))
