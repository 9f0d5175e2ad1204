"""An instance that misbehaves as it is told, `python -m tests.gateway.odd PORT GRPC_PORT`: POST /behave with a word,
and with the ms that its model takes, if any.

`same` and `wrong` answer, `hang` never does, `huge` answers 100 MB, `reset` ends the connection, `halfway` does so in
the middle of the answer, `error` answers 500. GET /seen tells how many came, how much of a huge answer was taken, and
what came last. Over gRPC it knows ModelInfer, and `same` and `wrong`.
"""

import asyncio
import contextlib
import sys
from typing import Any

import grpc
import numpy as np
from aiohttp import web
from tritonclient.grpc import service_pb2, service_pb2_grpc

BEHAVIOURS = ("same", "wrong", "hang", "huge", "reset", "halfway", "error")
RIGHT, WRONG = [0.25, 0.75], [0.75, 0.25]
_HUGE_MB = 100


class Instance(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self) -> None:
        self.behaviour = "same"
        self.takes_s = 0.0
        self.seen = 0
        self.sent = 0
        self.last: dict[str, Any] = {}

    async def behave(self, request: web.Request) -> web.Response:
        self.behaviour, *takes_ms = (await request.text()).split()
        assert self.behaviour in BEHAVIOURS
        self.takes_s = float(takes_ms[0]) / 1e3 if takes_ms else 0.0
        self.seen = self.sent = 0
        return web.Response()

    async def tell(self, _: web.Request) -> web.Response:
        return web.json_response({"seen": self.seen, "sent": self.sent, "last": self.last})

    @property
    def data(self) -> list[float]:
        return WRONG if self.behaviour == "wrong" else RIGHT

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen += 1
        if self.behaviour == "hang":
            await asyncio.sleep(3600)
        body = await request.read()
        self.last = {"path": request.path_qs, "headers": dict(request.headers), "length": len(body)}
        assert request.transport
        await asyncio.sleep(self.takes_s)
        if self.behaviour == "reset":
            request.transport.abort()
        if self.behaviour == "error":
            return web.Response(status=500)
        if self.behaviour in ("halfway", "huge"):
            return await self._go_wrong(request)
        output = {"name": "y", "datatype": "FP32", "shape": [2], "data": self.data}
        return web.json_response({"model_name": "digits", "outputs": [output]})

    async def _go_wrong(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(_HUGE_MB * 16):
                await answer.write(b"x" * 65536)
                self.sent += 65536
                if self.behaviour == "halfway":
                    assert request.transport
                    request.transport.abort()
        return answer

    async def ModelInfer(self, request: Any, _: Any) -> Any:  # noqa: N802
        self.seen += 1
        output = service_pb2.ModelInferResponse.InferOutputTensor(name="y", datatype="FP32", shape=[2])
        raw = np.array(self.data, dtype=np.float32).tobytes()
        return service_pb2.ModelInferResponse(
            model_name="echo", id=request.id, outputs=[output], raw_output_contents=[raw]
        )


async def main(http_port: int, grpc_port: int) -> None:
    instance = Instance()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/behave", instance.behave)
    app.router.add_get("/seen", instance.tell)
    app.router.add_route("*", "/{path:.*}", instance.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", http_port).start()
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(instance, server)
    server.add_insecure_port(f"0.0.0.0:{grpc_port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
