"""Where the apiserver is, and who we are there. In a pod this needs nothing of the client library: it saves memory."""

import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The kubelet renews the token long before it ends.
_TOKEN_S = 60.0


class NoClusterError(Exception):
    """There is no apiserver to talk to, or it doesn't answer."""


class Connection(NamedTuple):
    """A way to an apiserver. `headers` says who we are, anew for each request."""

    url: str
    ssl: ssl.SSLContext
    headers: Callable[[], Awaitable[Mapping[str, str]]]


def find_pod_connection(account: Path = ACCOUNT, environ: Mapping[str, str] | None = None) -> Connection | None:
    """The way of a pod, by its ServiceAccount; None outside of pods."""
    environ = os.environ if environ is None else environ
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (account / "token").exists():
        return None
    context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    return Connection(f"https://{bracket(host)}:{port}", accept_old(context), _Token(account).build_headers)


def accept_old(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, made to take the authorities of old clusters: from 3.13 on Python refuses those that have no key
    identifier.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def bracket(host: str) -> str:
    """A host as it stands in a URL: IPv6 has colons of its own."""
    return f"[{host}]" if ":" in host else host


class _Token:
    """A ServiceAccount's token, which changes under a running process."""

    def __init__(self, account: Path) -> None:
        self._file = account / "token"
        self._text = ""
        self._read_at = 0.0

    async def build_headers(self) -> Mapping[str, str]:
        now = time.monotonic()
        if not self._text or now - self._read_at > _TOKEN_S:
            self._text, self._read_at = self._file.read_text().strip(), now
        return {"Authorization": f"Bearer {self._text}"}
