"""What the operator's own HTTP port answers: /metrics, /healthz and /readyz."""

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


def build_app(registry: CollectorRegistry) -> web.Application:
    """The application. One that waits for the lead is ready, too."""

    async def answer_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def answer_ok(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application()
    app.add_routes([web.get("/metrics", answer_metrics), web.get("/healthz", answer_ok), web.get("/readyz", answer_ok)])
    return app
