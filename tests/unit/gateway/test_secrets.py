"""Secrets that the apiserver doesn't give at once."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from forebay.gateway.keys import ApiKeys
from forebay.gateway.secrets import Key, SecretReader
from forebay.kube.client import Client
from forebay.kube.connection import Connection
from forebay.local.ports import HOST, find_free_ports

SECRET = ("ns", "keys")
READ = ApiKeys(keys={"anna": "a-key"})


async def no_headers() -> Mapping[str, str]:
    return {}


@asynccontextmanager
async def reading(statuses: list[int], known: dict[Key, ApiKeys]) -> AsyncIterator[SecretReader]:
    """A reader of one Secret, and an apiserver that answers it with these, and then with the Secret."""

    async def answer(_: web.Request) -> web.Response:
        if statuses:
            return web.json_response({"message": "no"}, status=statuses.pop(0))
        return web.json_response({"data": {"anna": "YS1rZXk="}})

    (port,) = find_free_ports(1)
    app = web.Application()
    app.router.add_get("/api/v1/namespaces/ns/secrets/keys", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        async with Client(Connection(f"http://{HOST}:{port}", ssl.create_default_context(), no_headers)) as client:
            yield SecretReader(client, find_wanted=lambda: [SECRET], find_known=known.get, on_read=known.__setitem__)
    finally:
        await runner.cleanup()


async def test_at_first_it_is_asked_for_until_it_is_given() -> None:
    known: dict[Key, ApiKeys] = {}
    async with reading([429, 500, 503], known) as reader, asyncio.timeout(10):
        await reader.read_first()
    assert known == {SECRET: READ}


async def test_what_cant_be_had_is_not_waited_for() -> None:
    statuses, known = [404, 500], dict[Key, ApiKeys]()
    async with reading(statuses, known) as reader, asyncio.timeout(10):
        await reader.read_first()
    assert (statuses, known[SECRET].keys) == ([500], {})


async def test_it_is_soon_asked_for_again_later_too() -> None:
    known: dict[Key, ApiKeys] = {}
    async with reading([500, 500], known) as reader:
        running = asyncio.create_task(reader.run())
        await asyncio.sleep(4)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert known == {SECRET: READ}


async def test_nobody_loses_a_key_because_the_apiserver_is_away() -> None:
    known = {SECRET: READ}
    async with reading([500], known) as reader, asyncio.timeout(10):
        await reader.read_first()
    assert known == {SECRET: READ}
