"""Requests to the apiserver: through a proxy, as the environment says, and beside any number of streams."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from forebay.kube.client import Client
from forebay.kube.connection import Connection
from forebay.local.ports import HOST, find_free_ports


async def no_headers() -> Mapping[str, str]:
    return {}


@asynccontextmanager
async def answering(seen: list[tuple[str, str]]) -> AsyncIterator[str]:
    """An HTTP server that is asked as an apiserver, or as a proxy to one; what it was asked for, and by whom."""

    async def answer(request: web.Request) -> web.Response:
        seen.append((str(request.url), request.headers.get("Proxy-Authorization", "")))
        return web.json_response({"kind": "Pod"})

    (port,) = find_free_ports(1)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield f"{HOST}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def streaming() -> AsyncIterator[str]:
    """An apiserver of which each watch tells of one change, and goes on."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"kind": "Pod"})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{}\n")
        await asyncio.Event().wait()
        return response

    (port,) = find_free_ports(1)
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        await runner.cleanup()


async def ask(url: str) -> None:
    async with Client(Connection(url, ssl.create_default_context(), no_headers)) as client:
        assert await client.read("/api/v1/pods") == {"kind": "Pod"}


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    async with answering(seen) as proxy:
        monkeypatch.setenv("http_proxy", f"http://someone:secret@{proxy}")
        monkeypatch.setenv("no_proxy", "localhost")
        await ask("http://apiserver.example:6443")
    assert seen == [("http://apiserver.example:6443/api/v1/pods", "Basic c29tZW9uZTpzZWNyZXQ=")]


async def test_what_needs_no_proxy_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    async with answering(seen) as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
        await ask(f"http://{server}")
    assert seen == [(f"http://{server}/api/v1/pods", "")]


async def test_watches_leave_room_for_other_requests() -> None:
    """Those of an operator for ten namespaces."""
    async with streaming() as url, Client(Connection(url, ssl.create_default_context(), no_headers)) as client:
        streams = [client.stream("/api/v1/pods", silence_s=60, watch="1") for _ in range(150)]
        async with asyncio.timeout(4):
            await asyncio.gather(*(anext(each) for each in streams))
            assert await client.read("/api/v1/pods") == {"kind": "Pod"}
