"""Requests to an MLflow tracking server: JSON out, and errors that say what to do."""

import json
import os
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from forebay.kube.client import find_proxy
from forebay.plan.versions import RegistryUnavailableError
from forebay.serving.mlflow_login import Login

Json = dict[str, Any]

_TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
_MOST_BYTES = 16 * 1024 * 1024
_SHOWN = 200
_HOST_REFUSED = "Invalid Host header"
_HOW = (
    "MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (in a cluster: in the Secret that "
    "the chart's mlflow.secretName names, in the operator's namespace)"
)


class RefusedError(Exception):
    """What MLflow itself says of a request: its error code, and its sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_address(url: str) -> str:
    """What is wrong with the address of a tracking server; empty where nothing is."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "write the address of a tracking server, https://HOST[:PORT][/PREFIX]"
    if "@" in parts.netloc:
        return (
            "write user and password into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, not into the address"
        )
    return ""


class Server:
    """One tracking server. Credentials are sent to it alone: it is followed nowhere else."""

    def __init__(self, url: str, login: Login) -> None:
        self.url = url.rstrip("/")
        self._has_login = bool(login.build_headers())
        self._session = aiohttp.ClientSession(
            timeout=_TIMEOUT, headers={"User-Agent": "forebay", **login.build_headers()}, proxy=find_proxy(self.url)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, path: str, **params: str) -> Json:
        """GET below /api/2.0/mlflow. Raises RefusedError, RegistryUnavailableError."""
        try:
            async with self._session.get(
                f"{self.url}/api/2.0/mlflow/{path}", params=params, allow_redirects=False
            ) as answer:
                status, text = answer.status, await answer.content.read(_MOST_BYTES)
                # One read gives what has come so far.
                while len(text) < _MOST_BYTES and (more := await answer.content.read(_MOST_BYTES)):
                    text += more
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise RegistryUnavailableError(f"the MLflow server {self.url} can't be reached: {_tell(error)}") from None
        return self._read(status, text)

    def _read(self, status: int, text: bytes) -> Json:
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        code = str(found.get("error_code", "")) if isinstance(found, dict) else ""
        if status == HTTPStatus.OK and isinstance(found, dict):
            return found
        if code and HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and code not in _DENIED:
            raise RefusedError(code, str(found.get("message", "")))
        raise RegistryUnavailableError(self._explain(status, text.decode(errors="replace").strip()[:_SHOWN]))

    def _explain(self, status: int, said: str) -> str:
        name = f"the MLflow server {self.url}"
        if status == HTTPStatus.UNAUTHORIZED and self._has_login:
            return f"{name} doesn't accept the credentials: set {_HOW} anew"
        if status == HTTPStatus.UNAUTHORIZED:
            return f"{name} asks for credentials: set {_HOW}"
        if _HOST_REFUSED in said:
            host = urlsplit(self.url).netloc
            return f"{name} refuses its own name: start it with --allowed-hosts {host}. It says: {said}"
        if status == HTTPStatus.FORBIDDEN:
            return (
                f"{name} doesn't allow it: let the user of these credentials read the registered model. It says: {said}"
            )
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return f"{name} sends elsewhere (HTTP {status}): write the address where MLflow's API itself is, with https"
        return f"{name} answers HTTP {status}, and not as MLflow does: look at the address, and at its log: {said!r}"


def _tell(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate isn't trusted: set SSL_CERT_FILE to the file of its authority"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "there is no such host"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return str(error) or "it doesn't answer in time"


_DENIED = ("PERMISSION_DENIED", "UNAUTHENTICATED", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
