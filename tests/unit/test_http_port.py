"""The HTTP port of a process."""

import aiohttp
import pytest
from aiohttp import web

from forebay.http_port import serve_app
from forebay.local.ports import HOST, find_free_ports


def build_app(text: str) -> web.Application:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text)

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    return app


async def test_it_answers_while_the_context_lasts() -> None:
    (port,) = find_free_ports(1)
    async with aiohttp.ClientSession(f"http://{HOST}:{port}") as session:
        for text in ("one", "two"):
            async with serve_app(build_app(text), port=port), session.get("/") as answer:
                assert await answer.text() == text
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get("/")


async def test_a_port_that_is_taken() -> None:
    (port,) = find_free_ports(1)
    async with serve_app(build_app("one"), port=port):
        with pytest.raises(OSError, match="address already in use"):
            async with serve_app(build_app("two"), port=port):
                pass
