"""Asks the sidecars of many instances at once what they work on."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import aiohttp

from forebay.metrics import LOAD_FILTER, QueueStats, parse_queue_stats
from forebay.plan.names import METRICS_PORT, QUEUE_CLUSTER

_log = logging.getLogger(__name__)
# An answer is a few kilobytes; what is longer isn't one.
_MOST_BYTES = 256 * 1024
_MOST_SILENT = 10_000
# Envoy tells this also while nothing has come yet.
_SIGN = f'upstream_rq_active{{envoy_cluster_name="{QUEUE_CLUSTER}"}}'


class Sidecars:
    """Connections to sidecars, which are kept: the next question is a third as dear.

    Who doesn't answer within `timeout_s`, or answers nonsense, is left out, and keeps nobody else waiting longer.
    """

    def __init__(self, *, timeout_s: float, port: int = METRICS_PORT) -> None:
        self._port = port
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._silent: set[str] = set()
        self._late: set[asyncio.Task[QueueStats | None]] = set()

    async def __aenter__(self) -> Self:
        """Connections are made when they are needed, and go when they were idle for a minute."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._late:
            task.cancel()
        if self._session is not None:
            await self._session.close()

    async def ask(self, addresses: Iterable[str], *, stats_filter: str = LOAD_FILTER) -> dict[str, QueueStats]:
        """What they counted, by address."""
        tasks = {address: asyncio.create_task(self._ask_one(address, stats_filter)) for address in addresses}
        # Who was silent before is asked again, and not waited for: else one would make all answers late for ever.
        waited = [task for address, task in tasks.items() if address not in self._silent] or list(tasks.values())
        if waited:
            await asyncio.wait(waited)
        late = [task for task in tasks.values() if not task.done()]
        self._late.update(late)
        for task in late:
            task.add_done_callback(self._late.discard)
        answers = {address: task.result() for address, task in tasks.items() if task.done()}
        self._note({address: answer is not None for address, answer in answers.items()})
        return {address: answer for address, answer in answers.items() if answer is not None}

    def _note(self, answered: Mapping[str, bool]) -> None:
        silent = {address for address, did in answered.items() if not did}
        self._silent = (self._silent - answered.keys()) | silent if len(self._silent) < _MOST_SILENT else silent

    async def _ask_one(self, address: str, stats_filter: str) -> QueueStats | None:
        assert self._session is not None  # noqa: S101  (entered)
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{self._port}/stats/prometheus"
        try:
            async with self._session.get(url, params={"filter": stats_filter}, allow_redirects=False) as response:
                response.raise_for_status()
                stats = _parse((await _read(response.content)).decode())
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            _log.debug("%s: no stats: %s", address, error or type(error).__name__)
            return None
        self._silent.discard(address)
        return stats


async def _read(content: aiohttp.StreamReader) -> bytes:
    """All of an answer. Raises ValueError where it is too long."""
    found = bytearray()
    async for chunk in content.iter_any():
        found += chunk
        if len(found) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
    return bytes(found)


def _parse(text: str) -> QueueStats:
    if _SIGN not in text:
        raise ValueError("what answers is no sidecar")
    return parse_queue_stats(text)
