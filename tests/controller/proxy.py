"""Between operators and the apiserver: tells who wrote what when, and says when one is to be killed."""

import asyncio
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp import web
from yarl import URL

from forebay.local.ports import HOST, find_free_ports
from tests.api.apiserver import ControlPlane

KILLED_WITHIN_S = 10


class Write(NamedTuple):
    """A request that changes something, when it came, and what was answered (0: it was not passed on)."""

    at_s: float
    method: str
    path: str
    status: int


@dataclass
class Visitor:
    """An operator, known by the token that it sends. At its `kill_at`-th write it is to be killed, and hears no more.

    `late`: the apiserver has answered by then, and only the operator doesn't hear of it.
    """

    kill_at: int = 0
    late: bool = False
    killed: threading.Event = field(default_factory=threading.Event)
    writes: list[Write] = field(default_factory=list)


class Proxy:
    """A proxy over plain HTTP, in a thread of its own."""

    def __init__(self, plane: ControlPlane) -> None:
        (port,) = find_free_ports(1)
        self.url = f"http://{HOST}:{port}"
        self.visitors: dict[str, Visitor] = {}
        self._plane, self._port = plane, port
        # A part of the paths at which writes find their connection broken.
        self.broken = ""
        # A part of the paths that nobody has a right to.
        self.forbidden = ""
        self._is_cut = False
        self._streams: dict[int, web.Request] = {}
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _start(self) -> None:
        context = ssl.create_default_context(cafile=str(self._plane.ca))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self._port).start()
        self._started.set()

    async def _end(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def cut(self) -> None:
        """Answer nothing any more, and end the streams, as a network does that fails."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self._end_streams)

    def mend(self) -> None:
        """Answer again."""
        self._is_cut = False

    def _end_streams(self) -> None:
        for each in list(self._streams.values()):
            if each.transport:
                each.transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        visitor = self.visitors.setdefault(token, Visitor())
        is_write = request.method != "GET" and "/leases" not in request.path
        if refusal := self._refuse(request):
            return refusal
        is_last = is_write and len(visitor.writes) + 1 == visitor.kill_at
        if visitor.killed.is_set() or (is_last and not visitor.late):
            return await self._keep_waiting(visitor)
        headers = {name: value for name, value in request.headers.items() if name in ("Content-Type", "Accept")}
        headers["Authorization"] = f"Bearer {self._plane.token}"
        url = URL(self._plane.url + request.path_qs, encoded=True)
        sent_s = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, url, headers=headers, data=await request.read() or None, timeout=timeout
        ) as answer:
            if is_write:
                visitor.writes.append(Write(sent_s, request.method, request.path, answer.status))
            if "watch" in request.query:
                self._streams[id(request)] = request
                try:
                    return await _stream(request, answer)
                finally:
                    del self._streams[id(request)]
            body = await answer.read()
            if is_last:
                return await self._keep_waiting(visitor)
            return web.Response(status=answer.status, body=body, content_type=answer.content_type)

    def _refuse(self, request: web.Request) -> web.Response | None:
        if self.forbidden and self.forbidden in request.path:
            return web.json_response({"kind": "Status", "code": 403, "reason": "Forbidden"}, status=403)
        is_broken = request.method != "GET" and self.broken and self.broken in request.path
        if is_broken and request.transport:
            request.transport.abort()
        return web.Response(status=503) if self._is_cut or is_broken else None

    async def _keep_waiting(self, visitor: Visitor) -> web.Response:
        visitor.killed.set()
        await asyncio.sleep(KILLED_WITHIN_S)
        return web.Response(status=503)


async def _stream(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    try:
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, ConnectionError):
        pass
    return response


def describe(writes: list[Write]) -> list[dict[str, Any]]:
    """Writes, for the message of a failed test."""
    return [each._asdict() for each in writes]
