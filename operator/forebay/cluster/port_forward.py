"""A port of a pod on this machine, through the apiserver: each connection is a websocket of its own.

The protocol is Kubernetes' `v4.channel.k8s.io`: a first byte tells the channel, and the first message of each channel
is the port. kubectl is not needed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from forebay.kube.client import ApiError, Client
from forebay.kube.connection import NoClusterError
from forebay.kube.resources import POD

HOST = "127.0.0.1"
_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CHUNK_BYTES = 1 << 15


class PortForward:
    """Listens on a free port of loopback. `trouble` tells what broke last."""

    def __init__(self, client: Client, *, namespace: str, pod: str, port: int) -> None:
        self._client = client
        self._path = POD.path(namespace=namespace, name=pod, subresource="portforward")
        self._port = port
        self.address = ""
        self.trouble = ""

    async def check(self) -> None:
        """Connect once. Raises ApiError where that isn't allowed, or the pod isn't there."""
        async with self._connect():
            pass

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        """The address, as long as it is needed."""
        serving: set[asyncio.Task[None]] = set()

        def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(reader, writer))
            serving.add(task)
            task.add_done_callback(serving.discard)

        server = await asyncio.start_server(start, HOST, 0)
        self.address = "{}:{}".format(*server.sockets[0].getsockname())
        try:
            yield self.address
        finally:
            server.close()
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    def _connect(self) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        return self._client.connect(self._path, protocol=_PROTOCOL, ports=str(self._port))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._connect() as socket:
                ways = [asyncio.create_task(_send(reader, socket)), asyncio.create_task(self._receive(socket, writer))]
                try:
                    # Who hangs up first ends it: the protocol has no half-closed connections.
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
        except (ApiError, NoClusterError, aiohttp.ClientError, OSError) as error:
            self.trouble = str(error) or type(error).__name__
        finally:
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
        opened = set()
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, content = message.data[0], message.data[1:]
            if channel not in opened:
                opened.add(channel)
                content = content[2:]  # the port
            if channel == _ERROR and content:
                self.trouble = content.decode(errors="replace").strip()
                return
            if channel == _DATA and content:
                writer.write(content)
                await writer.drain()


async def _send(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    while content := await reader.read(_CHUNK_BYTES):
        await socket.send_bytes(bytes([_DATA]) + content)
