"""The admin interface of the Envoy beside the pilot, on a unix socket."""

from types import TracebackType

import aiohttp

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
