"""Clients that ask on and on at a steady rate, whatever becomes of the answers, and what they saw."""

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import aiohttp
import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

PATIENCE_S = 30
Headers = dict[str, str]


class Load:
    """An open-loop load on one ModelDeployment through the gateway, half of it REST and half gRPC, as a block.

    Connections are kept alive, and made again where the gateway ends them.
    """

    # For so long an answer is waited for.
    patience_s = PATIENCE_S

    def __init__(
        self, gateway: str, *, path: str, body: bytes | dict[str, Any], tensor: tuple[str, np.ndarray], rate: float
    ) -> None:
        """`path` is /NAMESPACE/NAME/...; `tensor` is what gRPC sends to the model of that name."""
        self.seen: Counter[str] = Counter()
        self.latencies_s: list[float] = []
        self.failures: list[str] = []
        self._gateway, self._path, self._body, self._tensor = gateway, path, body, tensor
        self._interval_s = 1 / rate
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Load":
        self._thread.start()
        try:
            self.wait_for(20)
        except BaseException:
            # Left alone it would go on asking beside all tests that follow.
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(self.patience_s + 10)
        assert not self._thread.is_alive()

    def wait_for(self, answers: int) -> None:
        """Until so many more were answered well."""
        wanted, deadline = len(self.latencies_s) + answers, time.monotonic() + 30 + self.patience_s
        while len(self.latencies_s) < wanted:
            assert time.monotonic() < deadline, self.tell()
            time.sleep(0.02)

    def tell(self) -> str:
        ordered = sorted(self.latencies_s) or [0.0]
        middle, slow = (ordered[int((len(ordered) - 1) * share)] * 1000 for share in (0.5, 0.99))
        return f"{dict(self.seen)}, p50 {middle:.0f} ms, p99 {slow:.0f} ms, failures: {self.failures[:5]}"

    def check(self) -> None:
        """Every request was answered well; and there were some of both kinds."""
        assert not self.failures, self.tell()
        assert set(self.seen) == {"rest ok", "grpc ok"}, self.tell()
        print(self.tell())

    async def _run(self) -> None:
        asking: set[asyncio.Task[None]] = set()
        timeout = aiohttp.ClientTimeout(total=self.patience_s)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session,
            triton_aio.InferenceServerClient(self._gateway) as client,
        ):
            begun_s, count = time.monotonic(), 0
            while not self._stopping.is_set():
                kind, way = ("rest", self._ask_rest(session)) if count % 2 else ("grpc", self._ask_grpc(client))
                task = asyncio.create_task(self._measure(kind, way))
                asking.add(task)
                task.add_done_callback(asking.discard)
                count += 1
                await asyncio.sleep(max(0.0, begun_s + count * self._interval_s - time.monotonic()))
            await asyncio.gather(*asking)

    async def _measure(self, kind: str, way: Any) -> None:
        begun_s = time.monotonic()
        try:
            await way
        except (aiohttp.ClientError, TimeoutError, InferenceServerException, grpc.RpcError, OSError) as error:
            self.seen[f"{kind} {type(error).__name__}"] += 1
            took_s = time.monotonic() - begun_s
            self.failures.append(f"{time.strftime('%H:%M:%S')} {kind} after {took_s:.2f} s: {error!r}")
            return
        self.seen[f"{kind} ok"] += 1
        self.latencies_s.append(time.monotonic() - begun_s)

    async def _ask_rest(self, session: aiohttp.ClientSession) -> None:
        content = {"data": self._body} if isinstance(self._body, bytes) else {"json": self._body}
        async with session.post(f"http://{self._gateway}{self._path}", **content) as answer:
            text = await answer.text()
            if answer.status != 200:
                reason = f"{answer.status} {answer.headers.get('x-forebay-reason')} {text[:200]}"
                raise aiohttp.ClientPayloadError(reason)

    async def _ask_grpc(self, client: triton_aio.InferenceServerClient) -> None:
        name, array = self._tensor
        given = triton.InferInput(name, list(array.shape), "FP32")
        given.set_data_from_numpy(array)
        _, namespace, model = self._path.split("/")[:3]
        headers = {"forebay-deployment": f"{namespace}/{model}"}
        await client.infer(model, [given], headers=headers, client_timeout=self.patience_s)
