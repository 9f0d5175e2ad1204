"""The gateway's Envoy on this machine."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from forebay.local.envoy_binary import build_envoy_command
from forebay.local.loopback import build_async_client
from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import Process, describe_exit
from forebay.plan.envoy import Address
from forebay.plan.envoy_gateway import Route, build_gateway

_REQUESTS, _CONNECTIONS = "http.gateway.downstream_rq_active", "http.gateway.downstream_cx_active"
_POLL_S = 0.05
# Time for who was connected before the port closed to send a request.
_LAST_WORDS_S = 1.0


class Gateway:
    """One Envoy in front of everything that this command serves."""

    def __init__(self, routes: Sequence[Route], *, port: int, folder: Path, on_event: Callable[[str], None]) -> None:
        self.address = Address(HOST, port)
        self._admin = Address(HOST, find_free_ports(1)[0])
        config = build_gateway(routes, listen=self.address, admin=self._admin)
        command = build_envoy_command("gateway", config, folder=folder)
        told = "the gateway is restarting: it exited with"
        self.process = Process(command, on_exit=lambda status: on_event(f"{told} {describe_exit(status)}"))

    async def drain(self, *, limit_s: float, on_wait: Callable[[int], None]) -> int:
        """Take no new connection; wait `limit_s` seconds at most for requests in flight. Returns how many are left."""
        base = f"http://{self._admin.host}:{self._admin.port}"
        deadline = time.monotonic() + limit_s
        async with build_async_client(timeout_s=2) as client:
            try:
                await client.post(f"{base}/drain_listeners?graceful")
                await self._until_closed(deadline)
                last_words = min(time.monotonic() + _LAST_WORDS_S, deadline)
                while True:
                    active, connections = await _count_active(client, base)
                    now = time.monotonic()
                    if now >= deadline or (not active and (not connections or now >= last_words)):
                        return active
                    if active:
                        on_wait(active)
                    await asyncio.sleep(_POLL_S)
            except httpx.HTTPError:  # the gateway is down, and with it every request
                return 0

    async def _until_closed(self, deadline: float) -> None:
        """Until nobody can connect any more: whoever could is still to be answered."""
        while time.monotonic() < deadline:
            try:
                _, writer = await asyncio.open_connection(self.address.host, self.address.port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(_POLL_S)


async def _count_active(client: httpx.AsyncClient, base: str) -> tuple[int, int]:
    """Requests that aren't answered yet, and connections."""
    answer = await client.get(f"{base}/stats", params={"filter": f"^({_REQUESTS}|{_CONNECTIONS})$"})
    found = dict(line.rsplit(": ", 1) for line in answer.text.splitlines() if ": " in line)
    return int(found.get(_REQUESTS, 0)), int(found.get(_CONNECTIONS, 0))
