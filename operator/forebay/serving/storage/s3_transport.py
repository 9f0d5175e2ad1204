"""What boto3 reads as a whole (listings, errors) has a bound: its own transport takes whatever a server sends."""

import time
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from forebay.serving.storage.errors import redact

MOST_BYTES = 16 * 1024 * 1024
LONGEST_S = 60.0
_READ_BYTES = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)


class EndlessAnswerError(BotoCoreError):  # type: ignore[misc]
    """An answer that is longer than any listing."""

    fmt = "an answer has no end"


class RedirectedError(BotoCoreError):  # type: ignore[misc]
    """A server that isn't S3 itself, such as a proxy that wants https."""

    fmt = "sent on to {to}"


class BoundedTransport:
    """Sends boto3's requests, and stops reading an answer that is too long or takes too long."""

    def __init__(self, session: URLLib3Session) -> None:
        self._session = session

    def send(self, request: Any, **_: Any) -> Any:
        """Answer botocore's event before-send. What is streamed on purpose is left alone."""
        if request.stream_output:
            return None
        request.stream_output = True
        answer = self._session.send(request)
        # boto3 asks a server that doesn't name the region where it is, which asks ... without an end.
        if answer.status_code in _REDIRECTS and "x-amz-bucket-region" not in answer.headers:
            answer.raw.close()
            raise RedirectedError(to=redact(answer.headers.get("location", "")))
        answer.raw = _Bounded(answer.raw)
        return answer

    def close(self) -> None:
        """Let the connections go."""
        self._session.close()


def build_transport(session: Any, client: Any) -> BoundedTransport:
    """A transport with the settings of a client."""
    config = client.meta.config
    return BoundedTransport(
        URLLib3Session(
            verify=session.get_config_variable("ca_bundle") or True,
            proxies=get_environ_proxies(client.meta.endpoint_url),
            timeout=(config.connect_timeout, config.read_timeout),
            max_pool_connections=config.max_pool_connections,
        )
    )


class _Bounded:
    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def stream(self) -> Iterator[bytes]:
        """The body, as it comes. Raises EndlessAnswerError."""
        left, until_s = MOST_BYTES, time.monotonic() + LONGEST_S
        try:
            while data := self._raw.read1(_READ_BYTES):
                left -= len(data)
                _require(left >= 0 and time.monotonic() < until_s)
                yield data
        except BaseException:
            self._raw.close()
            raise
        self._raw.release_conn()


def _require(bounded: bool) -> None:
    if not bounded:
        raise EndlessAnswerError()
