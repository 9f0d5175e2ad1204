"""What happens to the objects of a kind: a list, and then every change, for as long as the process runs."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.resources import Resource

Json = dict[str, Any]

_log = logging.getLogger(__name__)
_PAGE = "500"
# The apiserver ends a watch after the one, and a stream that was silent for the other is broken.
_WATCH_S = 120
_SILENCE_S = 150
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_GONE = 410
# In a row, some seconds long: an apiserver that starts knows no rights for a moment.
_REFUSALS = 6
_LOOK_S = 0.5


class _GoneError(Exception):
    """The apiserver no longer knows the changes since the version that was seen last."""


def _keep(body: Json) -> Json:
    return body


class Follower(NamedTuple):
    """Who hears of a kind's objects.

    `listed` hears of all of them: at the beginning, and whenever changes were missed. `changed` hears of one: whether
    it is there, and the object. `failed` hears each time that the apiserver couldn't be asked. `read` is what is taken
    of an object, so that a long list is never in memory whole.
    """

    listed: Callable[[Sequence[Any]], None]
    changed: Callable[[bool, Any], None]
    failed: Callable[[], None] = lambda: None
    read: Callable[[Json], Any] = _keep


class Scope(NamedTuple):
    """Which objects of a kind: of all namespaces or of one, with all labels or with some."""

    namespace: str = ""
    selector: str = ""


class Watch:
    """A list and its changes. `synced` is set when the first list is there; `settled` then, too, or when the apiserver
    refuses it again and again, as in a namespace that is gone, and our rights with it.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        scope: Scope,
        follower: Follower,
    ) -> None:
        self.synced = asyncio.Event()
        self.settled = asyncio.Event()
        self._client = client
        self._resource = resource
        self._namespace = scope.namespace
        self._path = resource.path(namespace=scope.namespace)
        self._params = {"labelSelector": scope.selector} if scope.selector else {}
        self._follower = follower
        self._version = ""
        self._refusals = 0

    async def run(self) -> None:
        """Tell of everything until cancelled. What the apiserver doesn't answer is asked for again, ever less often."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if not self._version:
                    await self._list()
                    self.synced.set()
                    self.settled.set()
                await self._follow()
                pause_s = _FIRST_PAUSE_S
            except _GoneError:
                self._version = ""
            except (ApiError, *UNANSWERED, ValueError) as error:
                self._follower.failed()
                if isinstance(error, ApiError):  # it won't go on from there
                    self._version = ""
                self._count_refusal(error)
                _log.warning("watching %s: %s", self._resource.plural, error or type(error).__name__)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  (to spread, not to hide)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _count_refusal(self, error: Exception) -> None:
        is_refusal = isinstance(error, ApiError) and error.status == HTTPStatus.FORBIDDEN
        self._refusals = self._refusals + 1 if is_refusal else 0
        if self._namespace and self._refusals >= _REFUSALS and not self.settled.is_set():
            self.settled.set()
            _log.error(
                "namespace %s: %s can't be read, and count as none: is it gone? Take it from watchNamespaces then",
                self._namespace, self._resource.plural,
            )  # fmt: skip

    async def _list(self) -> None:
        items: list[Any] = []
        params = {"limit": _PAGE, **self._params}
        while True:
            page = await self._client.read(self._path, **params)
            items += [self._follower.read(self._typed(item)) for item in page["items"]]
            more = page["metadata"].get("continue")
            if not more:
                break
            params["continue"] = more
        self._follower.listed(items)
        self._version = page["metadata"]["resourceVersion"]

    async def _follow(self) -> None:
        params = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_S), **self._params}
        lines = self._client.stream(self._path, silence_s=_SILENCE_S, resourceVersion=self._version, **params)
        async for line in lines:
            event = orjson.loads(line)
            body = event["object"]
            if event["type"] == "ERROR":
                if body.get("code") == _GONE:
                    raise _GoneError
                raise ApiError(body.get("code", 0), body.get("reason", ""), body.get("message", "the watch failed"))
            if event["type"] != "BOOKMARK":
                self._follower.changed(event["type"] != "DELETED", self._follower.read(body))
            self._version = body["metadata"]["resourceVersion"]

    def _typed(self, body: Json) -> Json:
        """Items of lists come without their type."""
        return {**body, "apiVersion": self._resource.api_version, "kind": self._resource.kind}


async def wait_settled(watches: Sequence[Watch]) -> None:
    """Until there is a first list of all that may be read. Where nothing may, our rights are gone rather than all
    namespaces: that is waited out.
    """
    for watch in watches:
        await watch.settled.wait()
    while not any(watch.synced.is_set() for watch in watches):  # noqa: ASYNC110  (any of them)
        await asyncio.sleep(_LOOK_S)
