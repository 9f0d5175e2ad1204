"""Watches of which the apiserver refuses some."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from forebay.kube.client import Client
from forebay.kube.connection import Connection
from forebay.kube.resources import POD
from forebay.kube.watch import Follower, Scope, Watch, wait_settled
from forebay.local.ports import HOST, find_free_ports

FOLLOWER = Follower(lambda _: None, lambda _there, _body: None)


async def no_headers() -> Mapping[str, str]:
    return {}


@asynccontextmanager
async def refusing(namespaces: Iterable[str]) -> AsyncIterator[Client]:
    """An apiserver with empty lists, but in these namespaces."""

    async def answer(request: web.Request) -> web.Response:
        if request.match_info["namespace"] in namespaces:
            return web.json_response({"reason": "Forbidden", "message": "no right to list pods"}, status=403)
        if "watch" in request.query:
            await asyncio.Event().wait()
        return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})

    (port,) = find_free_ports(1)
    app = web.Application()
    app.router.add_get("/api/v1/namespaces/{namespace}/pods", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        async with Client(Connection(f"http://{HOST}:{port}", ssl.create_default_context(), no_headers)) as client:
            yield client
    finally:
        await runner.cleanup()


async def wait_for_lists(namespaces: Iterable[str], *, refused: Iterable[str], limit_s: float) -> list[bool]:
    """Whether each was listed, once none is waited for any more."""
    async with refusing(refused) as client:
        watches = [Watch(client, POD, Scope(each), FOLLOWER) for each in namespaces]
        running = [asyncio.create_task(each.run()) for each in watches]
        try:
            async with asyncio.timeout(limit_s):
                await wait_settled(watches)
            return [each.synced.is_set() for each in watches]
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def test_a_namespace_that_is_gone_is_not_waited_for() -> None:
    assert await wait_for_lists(["there", "gone"], refused=["gone"], limit_s=20) == [True, False]


async def test_nobody_goes_on_without_any_right() -> None:
    with pytest.raises(TimeoutError):
        await wait_for_lists(["a", "b"], refused=["a", "b"], limit_s=8)
