"""HTTP requests to servers of this machine, each over a connection of its own, as those of many clients are."""

from typing import Any

import httpx

from forebay.local.loopback import NO_TLS


def request(method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
    return httpx.request(method, url, trust_env=False, verify=NO_TLS, **options)


def get(url: str, **options: Any) -> httpx.Response:
    return request("GET", url, **options)


def post(url: str, **options: Any) -> httpx.Response:
    return request("POST", url, **options)


def build_client(**options: Any) -> httpx.Client:
    """For many requests over few connections."""
    return httpx.Client(trust_env=False, verify=NO_TLS, **options)
