"""An instance with a bounded queue, `python -m tests.gateway.bounded HTTP_PORT GRPC_PORT SLOTS DEPTH SERVICE_S`.

It works on so many requests at once and lets so many wait; one more is refused as a full queue refuses it. An answer
tells the request's number among all, and how many were there at most.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
from aiohttp import web

UNARY = "/test.Bounded/Unary"
STREAM = "/test.Bounded/Stream"
REFUSAL = {"x-forebay-reason": "queue-full", "x-forebay-retry": "1"}


class Queue:
    def __init__(self, slots: int, depth: int, service_s: float) -> None:
        self._turn = asyncio.Semaphore(slots)
        self._most = slots + depth
        self._service_s = service_s
        self._here = 0
        self._peak = 0
        self._answered = 0
        self.refused = 0

    async def work(self) -> dict[str, int] | None:
        """Nothing where there is no room."""
        if self._here >= self._most:
            self.refused += 1
            return None
        self._here += 1
        self._peak = max(self._peak, self._here)
        try:
            async with self._turn:
                self._answered += 1
                told = {"number": self._answered, "peak": self._peak, "refused": self.refused}
                await asyncio.sleep(self._service_s)
                return told
        finally:
            self._here -= 1


class Grpc(grpc.GenericRpcHandler):
    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method == STREAM:
            return grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.unary_unary_rpc_method_handler(self._unary)

    async def _unary(self, _: bytes, context: Any) -> bytes:
        told = await self._queue.work()
        if told is None:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", tuple(REFUSAL.items()))
        return json.dumps(told).encode()

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        told = await self._queue.work()
        if told is None:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", tuple(REFUSAL.items()))
        async for request in requests:
            yield request


async def serve(http_port: int, grpc_port: int, queue: Queue) -> None:
    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        told = await queue.work()
        if told is None:
            return web.Response(status=429, headers=REFUSAL)
        return web.json_response({**told, "length": len(body)})

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", http_port).start()
    server = grpc.aio.server(handlers=[Grpc(queue)])
    server.add_insecure_port(f"0.0.0.0:{grpc_port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    ports, (slots, depth), service_s = map(int, sys.argv[1:3]), map(int, sys.argv[3:5]), float(sys.argv[5])
    http_port, grpc_port = ports

    async def main() -> None:
        await serve(http_port, grpc_port, Queue(slots, depth, service_s))

    asyncio.run(main())
