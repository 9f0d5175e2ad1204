"""The pilot's HTTP port: health, metrics, and what is live."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from forebay.gateway.report import Json

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def build_app(
    *, is_ready: Callable[[], bool], build_routes: Callable[[], Json], write_metrics: Callable[[], Awaitable[str]]
) -> web.Application:
    """The application of /healthz, /readyz, /routes and /metrics."""
    # One scrape at a time: they ask Envoy.
    turn = asyncio.Lock()

    async def answer_health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def answer_ready(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if is_ready() else web.Response(status=503, text="not synced yet\n")

    async def answer_routes(_: web.Request) -> web.Response:
        return web.json_response({"routes": build_routes()}, status=200 if is_ready() else 503)

    async def answer_metrics(_: web.Request) -> web.Response:
        async with turn:
            text = await write_metrics()
        return web.Response(text=text, headers={"content-type": _METRICS_TYPE})

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", answer_health),
            web.get("/readyz", answer_ready),
            web.get("/routes", answer_routes),
            web.get("/metrics", answer_metrics),
        ]
    )
    return app
