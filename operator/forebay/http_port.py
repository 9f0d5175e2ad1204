"""The HTTP port of a process in a pod, for probes and metrics."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serve_app(app: web.Application, *, port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Answer on all addresses while it lasts; with TLS where a `context` is given."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host=None, port=port, ssl_context=context).start()
        yield
    finally:
        await runner.cleanup()
