"""Reading objects of S3 with botocore's signer and http.client alone: boto3 takes 3 ms of CPU for each request.

Only what goes well is answered here. For everything else boto3 asks again: errors, redirects, and whatever is set up in
a way of its own.
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from queue import Empty, LifoQueue
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ResponseStreamingError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
READ_BYTES = 1024 * 1024
_PROBE = "forebay-probe"
_OK = (200, 206)
_ERRORS = (HTTPException, OSError)


@dataclass(frozen=True)
class _Line:
    """A connection, with the buffer that all of its answers are read into."""

    connection: HTTPConnection
    buffer: memoryview


class Answer:
    """An object on its way, over a connection that is used again when all of it was read."""

    def __init__(self, line: _Line, response: HTTPResponse, idle: LifoQueue[_Line]) -> None:
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._line, self._response, self._idle = line, response, idle

    def read(self, *, expected_bytes: int) -> Iterator[memoryview]:
        """Stream the body, each time in the same buffer. Raises ResponseStreamingError, as botocore does.

        What is longer than expected is read one byte too far, and no further.
        """
        left, view = expected_bytes, self._line.buffer
        try:
            while got := self._response.readinto(view[: max(left, 1)]):
                left -= got
                yield view[:got]
                if left < 0:
                    break
        except _ERRORS as error:
            raise ResponseStreamingError(error=error) from error
        finally:
            self._give_back()

    def _give_back(self) -> None:
        if not self._response.isclosed():
            self._line.connection.close()
        self._idle.put(self._line)


class LeanGet:
    """GET requests to one bucket."""

    def __init__(self, session: Any, client: Any, bucket: str) -> None:
        """Learn from boto3's own client where the bucket is, and what is signed with."""
        self._credentials, self._region = session.get_credentials(), client.meta.region_name
        self._base = _find_base(client, bucket)
        self._usable = not get_environ_proxies(self._base) and not bucket.endswith("--x-s3")
        parts = urlsplit(self._base)
        self._host, self._path = parts.netloc, parts.path
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            # As botocore reads it: AWS_CA_BUNDLE, or ca_bundle of the profile.
            trusted = session.get_config_variable("ca_bundle") or True
            self._tls = ssl.create_default_context(cafile=get_cert_path(trusted))
        self._idle: LifoQueue[_Line] = LifoQueue()

    def get(self, key: str, headers: dict[str, str]) -> Answer | None:
        """The answer, whose body is still to be read; None where boto3 has to ask."""
        if not self._usable:
            return None
        name = quote(key, safe="/~")
        request = AWSRequest("GET", self._base + name, headers={"x-amz-checksum-mode": "ENABLED"})
        if self._credentials is not None:
            # Frozen: refreshed when it is due, and not in the middle of a signature.
            S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        line = self._take()
        connection = line.connection
        try:
            if connection.sock is None:
                _connect(connection)
            connection.request("GET", self._path + name, headers={**request.headers, **headers})
            response = connection.getresponse()
        except _ERRORS:
            connection.close()
            return None
        if response.status in _OK and "content-encoding" not in response.headers:
            return Answer(line, response, self._idle)
        connection.close()
        return None

    def close(self) -> None:
        """Let the connections go."""
        while True:
            try:
                self._idle.get_nowait().connection.close()
            except Empty:
                return

    def _take(self) -> _Line:
        try:
            return self._idle.get_nowait()
        except Empty:
            return _Line(self._open(), memoryview(bytearray(READ_BYTES)))

    def _open(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, timeout=CONNECT_TIMEOUT_S)
        return HTTPSConnection(self._host, timeout=CONNECT_TIMEOUT_S, context=self._tls)


def _connect(connection: HTTPConnection) -> None:
    connection.connect()
    connection.sock.settimeout(READ_TIMEOUT_S)


def _find_base(client: Any, bucket: str) -> str:
    """The address of the bucket with a slash at its end: endpoints, regions and address styles are boto3's business."""
    signed = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE})
    return str(signed).partition("?")[0].removesuffix(_PROBE)
