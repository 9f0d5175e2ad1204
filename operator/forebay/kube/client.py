"""Requests to the apiserver: plain JSON in and out, errors with the apiserver's own words."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson

from forebay.kube.connection import Connection, NoClusterError

Json = dict[str, Any]

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"
_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
_BUSY_S = 1.0
_ESCAPED = [(each.encode(), f"\\u{ord(each):04x}".encode()) for each in "<>&\u2028\u2029"]
_CLOSING = aiohttp.ClientWSTimeout(ws_close=2)
_BROKEN = (aiohttp.ClientConnectionError, asyncio.TimeoutError)
# What came of a request is unknown: it is made again, since every write here can be repeated.
UNANSWERED = (NoClusterError, aiohttp.ClientError, TimeoutError)


# What is tried again as it stands, beside an apiserver's own errors.
PASSING = (HTTPStatus.UNAUTHORIZED, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class ApiError(Exception):
    """The apiserver's refusal: its HTTP status, its reason (Conflict, Forbidden, Invalid, ...) and its sentence."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Answer(NamedTuple):
    """An answer: its HTTP status, and its object."""

    status: int
    body: Json


class Client:
    """Requests to one apiserver. `before_write` is called before each write, and may raise to prevent it.

    `retries` are for an apiserver that is busy for the moment; without them that is an ApiError, too.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        before_write: Callable[[], None] = lambda: None,
        on_write: Callable[[str, str], None] = lambda _kind, _verb: None,
        retries: int = 0,
    ) -> None:
        self.url = connection.url.rstrip("/")
        self._connection = connection
        self._before_write = before_write
        self.on_write = on_write
        self._retries = retries
        # Each watch keeps one, and a request that waits for one would count as unanswered.
        connector = aiohttp.TCPConnector(ssl=connection.ssl, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, proxy=find_proxy(self.url))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def read(self, path: str, **params: str) -> Json:
        """GET an object or a list."""
        return (await self._request("GET", path, params=params)).body

    async def find(self, path: str, **params: str) -> Json | None:
        """GET an object that may not be there."""
        try:
            return await self.read(path, **params)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def read_text(self, path: str, **params: str) -> str:
        """GET a text, such as a pod's log."""
        async with self._session.get(self.url + path, params=params, headers=await self._headers()) as response:
            text = await response.text(errors="replace")
            if response.status >= 300:
                raise _error(response.status, text)
            return text

    async def stream(self, path: str, *, silence_s: float, **params: str) -> AsyncIterator[bytes]:
        """The lines of an answer that goes on; it ends when nothing was said for so long."""
        timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=silence_s)
        url = self.url + path
        async with self._session.get(url, params=params, headers=await self._headers(), timeout=timeout) as response:
            if response.status >= 300:
                raise _error(response.status, await response.text())
            # Lines may be longer than aiohttp's own readline takes.
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield line

    @asynccontextmanager
    async def connect(
        self, path: str, *, protocol: str, **params: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A websocket, as for a port of a pod."""
        url = self.url + path
        # Who answers is the kubelet, which has no JSON to offer.
        headers = {**await self._headers(), "Accept": "*/*"}
        try:
            async with self._session.ws_connect(
                url, params=params, headers=headers, protocols=(protocol,), timeout=_CLOSING
            ) as socket:
                yield socket
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(error.status, "", f"HTTP {error.status} for {path}") from None

    async def write(
        self, method: str, path: str, body: Json | list[Json] | None = None, *, content_type: str = _JSON, **params: str
    ) -> Answer:
        """Change something."""
        self._before_write()
        data = None if body is None else _dump(body)
        return await self._request(method, path, params=params, data=data, content_type=content_type)

    async def _request(
        self, method: str, path: str, *, params: Mapping[str, str], data: bytes | None = None, content_type: str = _JSON
    ) -> Answer:
        left = self._retries
        while True:
            headers = await self._headers()
            if data is not None:
                headers["Content-Type"] = content_type
            try:
                async with self._session.request(
                    method, self.url + path, params=params, headers=headers, data=data
                ) as response:
                    text = await response.read()
            except _BROKEN as error:
                raise NoClusterError(
                    f"the apiserver at {self.url} does not answer: {error or type(error).__name__}"
                ) from None
            if response.status == HTTPStatus.TOO_MANY_REQUESTS and left:
                left -= 1
                await asyncio.sleep(_BUSY_S)
                continue
            if response.status >= 300:
                raise _error(response.status, text)
            return Answer(response.status, orjson.loads(text))

    async def _headers(self) -> dict[str, str]:
        return {"Accept": _JSON, **await self._connection.headers()}


def find_proxy(url: str) -> str | None:
    """The proxy to an address, as HTTPS_PROXY and NO_PROXY say.

    They are read once: aiohttp would for each request, and netrc with them.
    """
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _dump(body: Json | list[Json]) -> bytes:
    """JSON as Go writes it: what the apiserver compares by its bytes, as the data of a ControllerRevision, must be the
    same after it has gone through its own hands.
    """
    text = orjson.dumps(body)
    for plain, escaped in _ESCAPED:
        text = text.replace(plain, escaped)
    return text


def _error(status: int, text: str | bytes) -> ApiError:
    try:
        found = orjson.loads(text)
        return ApiError(status, str(found.get("reason", "")), str(found.get("message", "")) or f"HTTP {status}")
    except (ValueError, AttributeError):
        return ApiError(status, "", f"HTTP {status}: {text[:200]!r}")
