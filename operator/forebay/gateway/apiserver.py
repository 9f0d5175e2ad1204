"""The apiserver, as a pod reaches it.

Only what the pilot needs of a client: importing `kubernetes` would more than double the memory of a process that runs
beside every gateway.
"""

import os
import ssl
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType

import aiohttp

_CONNECT_S = 5.0
# The kubelet renews the token long before it ends.
_TOKEN_S = 60.0


class ApiServer:
    """Reads from the apiserver as the pod's ServiceAccount. Raises aiohttp.ClientError, OSError or TimeoutError."""

    def __init__(self, url: str, account: Path) -> None:
        self._url = url
        self._account = account
        self._token = ""
        self._token_read_s = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ApiServer":
        """Open the session; connections are made when they are needed."""
        context = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        self._session = aiohttp.ClientSession(self._url, connector=aiohttp.TCPConnector(ssl=context, limit=64))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    def get(
        self, path: str, query: Mapping[str, str], *, total_s: float | None = None, silence_s: float | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """An answer, whose body is still to be read, within `total_s`, and never `silence_s` without a byte."""
        if self._session is None:
            raise OSError("no session")
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=_CONNECT_S, sock_read=silence_s)
        headers = {"authorization": f"Bearer {self._read_token()}", "accept": "application/json"}
        return self._session.get(path, params=query, headers=headers, timeout=timeout)

    def _read_token(self) -> str:
        now_s = time.monotonic()
        if not self._token or now_s - self._token_read_s > _TOKEN_S:
            self._token = (self._account / "token").read_text().strip()
            self._token_read_s = now_s
        return self._token


def find_api_server(account: Path, environ: Mapping[str, str] | None = None) -> ApiServer:
    """Where a pod finds it."""
    environ = os.environ if environ is None else environ
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise OSError("the pilot runs in a pod of a cluster: KUBERNETES_SERVICE_HOST is not set")
    return ApiServer(f"https://{f'[{host}]' if ':' in host else host}:{port}", account)
