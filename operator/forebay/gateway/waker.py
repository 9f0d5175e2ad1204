"""Wakes ModelDeployments that are asleep: each of their Deployments is to have one instance, and the operator does
the rest. Several gateways may do so at once.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from forebay.gateway.objects import Deployment
from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.resources import DEPLOYMENT

_MANAGER = "forebay-gateway"
_MERGE_PATCH = "application/merge-patch+json"
_EVERY_S = 3.0
_RETRY_S = 0.5
_MOST_S = 10.0
_ANSWER_S = 10.0
_AT_ONCE = 16
_log = logging.getLogger(__name__)


class Waker:
    """One task for each that is to wake. `find_wanted` says what a route's deployment is while it is to be woken."""

    def __init__(self, client: Client, find_wanted: Callable[[str], Deployment | None]) -> None:
        self._client = client
        self._find_wanted = find_wanted
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def wake(self, route: str) -> None:
        """Wake it, and again until it is awake."""
        if route not in self._tasks:
            self._tasks[route] = asyncio.create_task(self._work(route))
            self._tasks[route].add_done_callback(lambda _: self._tasks.pop(route))

    async def stop(self) -> None:
        """Wake nobody any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, route: str) -> None:
        told: set[str] = set()
        pause_s = _RETRY_S
        while (deployment := self._find_wanted(route)) is not None:
            problem = await self._wake_all(deployment)
            if problem and problem not in told:
                told.add(problem)
                _log.warning("%s is asleep, and can't be woken yet: %s", route, problem)
            pause_s = min(pause_s * 2, _MOST_S) if problem else _EVERY_S
            await asyncio.sleep(pause_s)

    async def _wake_all(self, deployment: Deployment) -> str:
        """What is wrong, if anything."""
        names = sorted(deployment.needs)
        problems = await asyncio.gather(*(self._wake(deployment, name.rpartition("/")[2]) for name in names))
        return "; ".join(problem for problem in problems if problem)

    async def _wake(self, deployment: Deployment, name: str) -> str:
        path = DEPLOYMENT.path(namespace=deployment.namespace, name=name, subresource="scale")
        try:
            async with self._turn, asyncio.timeout(_ANSWER_S):
                scale = await self._client.read(path)
                # 0 is left out, so that a JSON patch can't test for it.
                if not scale["spec"].get("replicas", 0):
                    found = {"resourceVersion": scale["metadata"]["resourceVersion"]}
                    patch = {"metadata": found, "spec": {"replicas": 1}}
                    await self._client.write("PATCH", path, patch, content_type=_MERGE_PATCH, fieldManager=_MANAGER)
                    _log.info("%s was asleep: woke its Deployment %s", deployment.route, name)
        except ApiError as error:
            # Somebody else was quicker.
            return "" if error.status == HTTPStatus.CONFLICT else f"Deployment {name}: {error}"
        except (*UNANSWERED, OSError) as error:
            return f"Deployment {name}: {error or 'the apiserver does not answer'}"
        return ""
