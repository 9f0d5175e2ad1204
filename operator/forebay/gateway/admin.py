"""The admin interface of the Envoy beside the pilot, on a unix socket."""

import re
from collections.abc import Iterable
from types import TracebackType

import aiohttp

from forebay.gateway.pace import Counts
from forebay.plan.envoy_counts import ACTIVE, DURATION, REQUESTS, TOTAL, UPTIME

_ANSWER_S = 5.0


class EnvoyAdmin:
    """Asks and tells Envoy. Raises OSError when it is not there."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "EnvoyAdmin":
        """Open the session; connections are made when they are needed."""
        connector = aiohttp.UnixConnector(path=self._socket)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=_ANSWER_S))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    async def read_metrics(self) -> str:
        """What it counts, as Prometheus reads it."""
        return await self._ask("GET", "/stats/prometheus", {"usedonly": ""})

    async def count_active(self) -> dict[str, int]:
        """Requests that instances work on or keep waiting, by cluster; those that have none are left out."""
        return _read_counts(await self._read_stats(rf"\.{ACTIVE}$"), ACTIVE)

    async def count_all(self) -> dict[str, Counts]:
        """These, and those ever begun, by cluster; those that never had any are left out."""
        return _join_counts(await self._read_stats(rf"\.({ACTIVE}|{TOTAL})$"))

    async def count_requests(self, clusters: Iterable[str]) -> dict[str, Counts]:
        """Both, of these clusters."""
        some = "|".join(re.escape(each) for each in clusters)
        found = _join_counts(await self._read_stats(rf"^cluster\.({some})\.({ACTIVE}|{TOTAL})$"))
        return {each: found.get(each, Counts(total=0, active=0)) for each in clusters}

    async def read_counts(self, routes: Iterable[str]) -> str:
        """What it counted of the requests of these deployments, and the times of their answers in all its buckets."""
        some = "|".join(re.escape(each) for each in routes)
        pattern = rf"^({re.escape(UPTIME)}$|({re.escape(REQUESTS)}|{re.escape(DURATION)})\.deployment\.({some})\.)"
        return await self._ask("GET", "/stats", {"filter": pattern, "usedonly": "", "histogram_buckets": "detailed"})

    async def _read_stats(self, pattern: str) -> str:
        return await self._ask("GET", "/stats", {"filter": pattern, "usedonly": ""})

    async def count_connections(self) -> int:
        """Connections of clients to the gateway's port."""
        name = "http.gateway.downstream_cx_active"
        text = await self._ask("GET", "/stats", {"filter": f"^{name}$"})
        found, _, value = text.strip().rpartition(": ")
        return int(value) if found == name else 0

    async def drain(self) -> None:
        """Tell clients to go elsewhere, and still serve those that come."""
        await self._ask("POST", "/drain_listeners", {"graceful": ""})

    async def _ask(self, method: str, path: str, query: dict[str, str]) -> str:
        if self._session is None:
            raise OSError("no session")
        try:
            async with self._session.request(method, f"http://envoy{path}", params=query) as answer:
                answer.raise_for_status()
                return await answer.text()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise OSError(f"Envoy's admin interface: {error or type(error).__name__}") from error


def _join_counts(text: str) -> dict[str, Counts]:
    active, total = _read_counts(text, ACTIVE), _read_counts(text, TOTAL)
    return {each: Counts(total=total.get(each, 0), active=active.get(each, 0)) for each in active.keys() | total}


def _read_counts(text: str, what: str) -> dict[str, int]:
    prefix, suffix = "cluster.", f".{what}"
    found = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(": ")
        if value != "0" and name.startswith(prefix) and name.endswith(suffix):
            found[name.removeprefix(prefix).removesuffix(suffix)] = int(value)
    return found
