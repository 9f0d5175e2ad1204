"""The pilot's HTTP port: health, metrics, what is live, who is idle, and how copies were answered."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web

from forebay.gateway.report import Json

# Of the ModelDeployments that are asked for, by NAMESPACE/NAME. Raises OSError without Envoy.
Question = Callable[[Sequence[str]], Awaitable[Json]]
# What has parts of models' answers: for those who may open a port of the pod, as `kubectl port-forward` does.
_PRIVATE = "it is told to who asks from within the pod alone: forebay shadow, or kubectl port-forward\n"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def build_app(
    *,
    is_ready: Callable[[], bool],
    build_routes: Callable[[], Json],
    questions: Mapping[str, Question],
    private: Mapping[str, Question],
    write_metrics: Callable[[], Awaitable[str]],
) -> web.Application:
    """The application of /healthz, /readyz, /routes, /metrics, and of what Envoy is asked for. To `private` questions
    others than this pod get no answer.
    """
    # One scrape at a time: they ask Envoy.
    turn = asyncio.Lock()

    async def answer_health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def answer_ready(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if is_ready() else web.Response(status=503, text="not synced yet\n")

    async def answer_routes(_: web.Request) -> web.Response:
        return web.json_response({"routes": build_routes()}, status=200 if is_ready() else 503)

    async def answer_question(request: web.Request) -> web.Response:
        name = request.path.removeprefix("/")
        if name in private and not _is_from_here(request):
            return web.Response(status=403, text=_PRIVATE)
        try:
            return web.json_response(await {**questions, **private}[name](_read_names(request)))
        except OSError as error:
            return web.Response(status=503, text=f"{error}\n")

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
            *(web.get(f"/{name}", answer_question) for name in (*questions, *private)),
            web.get("/metrics", answer_metrics),
        ]
    )
    return app


def _read_names(request: web.Request) -> list[str]:
    return request.query.getall("deployment", [])


def _is_from_here(request: web.Request) -> bool:
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False
