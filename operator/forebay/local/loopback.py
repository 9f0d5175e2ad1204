"""HTTP to what runs on this machine."""

import ssl

import httpx

# What httpx makes by itself holds all authorities that the system trusts: 40 ms of CPU, for addresses without TLS.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def build_client(*, timeout_s: float) -> httpx.Client:
    """A client of http:// on this machine for any number of threads, whatever proxy is set."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.Client(timeout=timeout_s, trust_env=False, verify=NO_TLS, limits=limits)


def build_async_client(*, timeout_s: float) -> httpx.AsyncClient:
    """The same, for coroutines."""
    return httpx.AsyncClient(timeout=timeout_s, trust_env=False, verify=NO_TLS)
