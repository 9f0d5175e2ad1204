"""The objects of a kind that a cluster may not know, or that may not be read in it: then there are none."""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.resources import Resource
from forebay.kube.watch import Follower, Scope, Watch

_log = logging.getLogger(__name__)
_LOOK_S = 10.0
_FIRST_LOOKS_S = 0.5
_ABSENT = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)


class OptionalWatch:
    """A watch that begins and ends with its kind. `synced` is set when it is known what there is, if only that there
    is none; `on_turn` is called when the kind comes or goes.
    """

    def __init__(
        self, client: Client, resource: Resource, scope: Scope, follower: Follower, *, on_turn: Callable[[], None]
    ) -> None:
        self.synced = asyncio.Event()
        self.is_there = False
        self._client = client
        self._resource = resource
        self._scope = scope
        self._follower = follower
        self._on_turn = on_turn

    async def run(self, *, look_s: float = _LOOK_S) -> None:
        """Look now and then whether the cluster knows the kind, until cancelled."""
        watching: asyncio.Task[None] | None = None
        try:
            while True:
                is_known = await self._is_known()
                if is_known and watching is None:
                    watch = Watch(self._client, self._resource, self._scope, self._follower)
                    watching = asyncio.create_task(watch.run())
                    await watch.synced.wait()
                    self._turn(is_there=True)
                elif is_known is False and watching is not None:
                    watching.cancel()
                    watching = None
                    self._follower.listed([])
                    self._turn(is_there=False)
                if is_known is not None:
                    self.synced.set()
                await asyncio.sleep(look_s if self.synced.is_set() else _FIRST_LOOKS_S)
        finally:
            if watching is not None:
                watching.cancel()

    def _turn(self, *, is_there: bool) -> None:
        _log.info("%s: the cluster %s them", self._resource.plural, "knows" if is_there else "no longer knows")
        self.is_there = is_there
        self._on_turn()

    async def _is_known(self) -> bool | None:
        """Whether there may be some; None where nobody says."""
        try:
            await self._client.read(self._resource.path(namespace=self._scope.namespace), limit="1")
        except ApiError as error:
            return False if error.status in _ABSENT else None
        except UNANSWERED:
            return None
        return True
