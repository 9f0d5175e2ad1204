"""Reads the Secrets of access.apiKeys, one by one: the pilot may neither list nor watch them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from forebay.gateway.keys import ApiKeys, describe_unread, parse_api_keys
from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.resources import SECRET

Key = tuple[str, str]
_EVERY_S = 10.0
# Before it is asked again for what it hasn't given: by who begins, and later.
_FIRST_AGAIN_S = 0.5
_AGAIN_S = 1.0
_GET_S = 5.0
_AT_ONCE = 8
_log = logging.getLogger(__name__)


class SecretReader:
    """Keeps API keys up to date."""

    def __init__(
        self,
        client: Client,
        *,
        find_wanted: Callable[[], Iterable[Key]],
        find_known: Callable[[Key], ApiKeys | None],
        on_read: Callable[[Key, ApiKeys], None],
    ) -> None:
        self._client = client
        self._find_wanted = find_wanted
        self._find_known = find_known
        self._on_read = on_read
        self._asked: set[Key] = set()
        self._wake = asyncio.Event()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def ask(self, secret: Key) -> None:
        """Read this one at once."""
        self._asked.add(secret)
        self._wake.set()

    async def run(self) -> None:
        """Read all again and again, until cancelled."""
        while True:
            due = set(self._find_wanted())
            await self.read(due)
            await self._serve_asked()

    async def _serve_asked(self) -> None:
        """Until the next round is due."""
        end = asyncio.get_running_loop().time() + _EVERY_S
        while (left := end - asyncio.get_running_loop().time()) > 0:
            pending = self._choose_pending(self._find_wanted())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _AGAIN_S) if pending else left):
                    await self._wake.wait()
            self._wake.clear()
            asked, self._asked = self._asked | pending, set()
            await self.read(asked)

    async def read_first(self) -> None:
        """Read all, until the apiserver has said of each what is in it, or that it can't be had."""
        pending = set(self._find_wanted())
        while pending:
            await self.read(pending)
            pending = self._choose_pending(pending)
            if pending:
                await asyncio.sleep(_FIRST_AGAIN_S)

    def _choose_pending(self, secrets: Iterable[Key]) -> set[Key]:
        return {each for each in secrets if (known := self._find_known(each)) is None or known.pending}

    async def read(self, secrets: Iterable[Key]) -> None:
        """Read these now."""
        await asyncio.gather(*(self._read(secret) for secret in secrets))

    async def _read(self, secret: Key) -> None:
        known = self._find_known(secret)
        async with self._turn:
            found = await self._get(secret, known)
        if found.problem and (known is None or known.problem != found.problem):
            _log.warning("%s", found.problem)
        self._on_read(secret, found)

    async def _get(self, secret: Key, known: ApiKeys | None) -> ApiKeys:
        namespace, name = secret
        try:
            async with asyncio.timeout(_GET_S):
                found = await self._client.read(SECRET.path(namespace=namespace, name=name))
            return parse_api_keys(namespace, name, found.get("data") or {})
        except ApiError as error:
            status = error.status
        except (*UNANSWERED, OSError, ValueError):
            status = 0
        # Who has a key must not be locked out because the apiserver is away.
        if known is not None and known.keys and status not in (403, 404):
            return known
        return describe_unread(namespace, name, status=status)
