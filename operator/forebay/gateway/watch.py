"""List and watch: one kind of object, as it is at the apiserver, without end."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from forebay.gateway.apiserver import ApiServer

Raw = Mapping[str, Any]
_PAGE = 100
# The apiserver ends a watch after this time, and says where it stands about once a minute.
_WATCH_S = 300
_SILENCE_S = 90
_LIST_S = 30
_SHORTEST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0
_log = logging.getLogger(__name__)


class RelistError(Exception):
    """The apiserver doesn't remember what we know, or won't have us: all must be listed again."""


@dataclass(kw_only=True)
class Source:
    """What is watched, and where it goes: `put` and `drop` are told of each change, `listed` when all is known."""

    path: str
    selector: str
    # An object's key, and what is kept of it.
    read: Callable[[Raw], tuple[Any, Any]]
    put: Callable[[Any, Any], None]
    drop: Callable[[Any], None]
    listed: Callable[[], None]
    failed: Callable[[], None]
    known: set[Any] = field(default_factory=set)

    def take_list(self, raws: list[tuple[Any, Any]]) -> None:
        """This is all there is."""
        listed = dict(raws)
        for key in self.known - listed.keys():
            self.drop(key)
        for key, found in listed.items():
            self.put(key, found)
        self.known = set(listed)
        self.listed()

    def take_event(self, raw: Raw, *, there: bool) -> None:
        """One was made or changed, or it is gone."""
        key, found = self.read(raw)
        if there:
            self.known.add(key)
            self.put(key, found)
        else:
            self.known.discard(key)
            self.drop(key)


async def watch(api: ApiServer, source: Source) -> None:
    """Follow the source until cancelled."""
    wait_s = _SHORTEST_WAIT_S
    version = ""
    while True:
        try:
            if not version:
                version = await _list(api, source)
            async for reached in _follow(api, source, version):
                version, wait_s = reached, _SHORTEST_WAIT_S
            # The apiserver ends a watch now and then.
            continue
        except RelistError:
            version = ""
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            source.failed()
            _log.warning("%s: %s; again in %.1f s", source.path, error or type(error).__name__, wait_s)
        await asyncio.sleep(wait_s * random.uniform(0.5, 1))  # noqa: S311
        wait_s = min(_LONGEST_WAIT_S, wait_s * 2)


async def _list(api: ApiServer, source: Source) -> str:
    found: list[tuple[Any, Any]] = []
    query = {"labelSelector": source.selector, "limit": str(_PAGE)}
    while True:
        async with api.get(source.path, query, total_s=_LIST_S) as answer:
            _check(answer.status, source)
            page = await answer.json()
        found += [source.read(raw) for raw in page["items"]]
        metadata = page["metadata"]
        if not metadata.get("continue"):
            source.take_list(found)
            return str(metadata["resourceVersion"])
        query["continue"] = metadata["continue"]


async def _follow(api: ApiServer, source: Source, version: str) -> AsyncIterator[str]:
    """Hand on events; yields the version that is reached."""
    query = {
        "labelSelector": source.selector,
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": str(_WATCH_S),
    }
    async with api.get(source.path, query, silence_s=_SILENCE_S) as answer:
        _check(answer.status, source)
        async for line in _read_lines(answer.content):
            event = json.loads(line)
            raw = event["object"]
            if event["type"] == "ERROR":
                raise RelistError(raw.get("message", ""))
            if event["type"] != "BOOKMARK":
                source.take_event(raw, there=event["type"] != "DELETED")
            version = raw["metadata"]["resourceVersion"]
            yield version


async def _read_lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    # aiohttp's own lines have a longest, and an object with a script in it is longer.
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _check(status: int, source: Source) -> None:
    if status == 410:
        raise RelistError("too old")
    if status != 200:
        raise OSError(f"the apiserver answered {status} to {source.path}")
