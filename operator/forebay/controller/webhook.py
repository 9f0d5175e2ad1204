"""Asking an address that somebody else chose: not this machine, nor what a cloud tells its machines, and no further
than it says. The operator reaches more than they do who write ModelDeployments.

The names are looked up here, and what was looked up is connected to, so that a name can't become another address in
between. Redirects aren't followed, no credentials are sent, and no more is read of an answer than may be.
"""

import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from forebay.kube.client import find_proxy
from forebay.serving.storage.addresses import Address, Peril, find_perils, is_metadata_name, read_literal

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
_SEND_S, _ASK_S, _CONNECT_S = 10.0, 5.0, 5.0
_MOST_BYTES = 64 * 1024
_RETRIED = (408, 425, 429)


class WebhookError(Exception):
    """It wasn't taken, in words that don't tell the address. `passing`: another try may do better."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class Content(NamedTuple):
    """What is sent, and what it is."""

    body: bytes
    form: str = JSON


class _RefusedError(OSError):
    """An address that nothing is sent to."""


def check_url(url: str, hosts: Sequence[str]) -> None:
    """Raise WebhookError for an address that nothing is sent to. `hosts` may be, by patterns."""
    try:
        parts, host = urlsplit(url), _find_host(url)
    except ValueError:
        raise WebhookError("its address is none: write https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not host:
        raise WebhookError("its address is neither http:// nor https://: write https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise WebhookError("its address has a user or a password in it: write https://HOST/PATH")
    if not any(fnmatchcase(host, each) for each in hosts):
        raise WebhookError(f"this installation sends to {', '.join(hosts) or 'nobody'}: see notifications.hosts")
    if is_metadata_name(host):
        raise WebhookError(_REFUSED)
    # In all its notations: 2130706433, and 127.1.
    if (address := read_literal(host)) is not None:
        _check_address(address, is_named=host in hosts)


def _find_host(url: str) -> str:
    """As it is connected to: other digits that stand for the usual ones are those by then."""
    return (URL(url).raw_host or "").rstrip(".")


async def send(url: str, body: bytes, hosts: Sequence[str]) -> None:
    """POST JSON, and don't mind what is answered to it. Raises WebhookError."""
    async with _post(url, Content(body), hosts, timeout_s=_SEND_S) as response:
        status = response.status
    if status >= 300:
        raise WebhookError(f"it answers {status}", passing=status >= 500 or status in _RETRIED)


async def ask(url: str, content: Content, hosts: Sequence[str], *, direct: bool = False) -> bytes:
    """What is answered to a POST, which goes by no proxy where it is `direct`. Raises WebhookError."""
    text = b""
    async with _post(url, content, hosts, timeout_s=_ASK_S, direct=direct) as response:
        if response.status >= 300:
            raise WebhookError(f"it answers {response.status}")
        async for chunk in response.content.iter_any():
            text += chunk
            if len(text) > _MOST_BYTES:
                raise WebhookError(f"it answers more than {_MOST_BYTES >> 10} KiB")
    return text


@asynccontextmanager
async def _post(
    url: str, content: Content, hosts: Sequence[str], *, timeout_s: float, direct: bool = False
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to a POST, of which the body isn't read yet. Raises WebhookError."""
    check_url(url, hosts)
    host, proxy = _find_host(url), None if direct else find_proxy(url)
    # A proxy looks names up itself, and decides where it goes.
    resolver = None if proxy else _Resolver(is_named=host in hosts)
    headers = {"Content-Type": content.form, "User-Agent": "forebay", "Accept-Encoding": "identity"}
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver, limit=1),
                timeout=aiohttp.ClientTimeout(total=timeout_s, connect=_CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            ) as session,
            session.post(url, data=content.body, headers=headers, allow_redirects=False, proxy=proxy) as response,
        ):
            yield response
    except aiohttp.ClientConnectorDNSError as error:
        refused = isinstance(error.os_error, _RefusedError)
        said = str(error.os_error) if refused else "its host isn't found"
        raise WebhookError(said, passing=not refused) from None
    except ValueError:
        raise WebhookError("its address is none: write https://HOST/PATH") from None
    except TimeoutError:
        raise WebhookError("it doesn't answer in time", passing=True) from None
    except (aiohttp.ClientError, OSError) as error:
        # What these say may hold the address.
        raise WebhookError(f"it doesn't answer ({type(error).__name__})", passing=True) from None


class _Resolver(AbstractResolver):
    """Finds addresses, and refuses those that nothing is sent to."""

    def __init__(self, *, is_named: bool) -> None:
        self._inner = aiohttp.ThreadedResolver()
        self._is_named = is_named

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for each in found:
            try:
                _check_address(ipaddress.ip_address(each["host"].partition("%")[0]), is_named=self._is_named)
            except WebhookError as error:
                raise _RefusedError(str(error)) from None
        return found

    async def close(self) -> None:
        await self._inner.close()


_REFUSED = "nothing is sent to link-local and metadata addresses, nor to those that no server has"


def _check_address(address: Address, *, is_named: bool) -> None:
    """`is_named`: the installation names its host, and so means it."""
    for peril in find_perils(address):
        if peril is not Peril.LOOPBACK:
            raise WebhookError(_REFUSED)
        if not is_named:
            raise WebhookError("nothing is sent to loopback addresses")
