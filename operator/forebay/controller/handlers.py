"""kopf's part: it follows the ModelDeployments, and every change wakes the task of the one that changed.

Children and pods are followed by `kube.watch`: kopf doesn't tell of what went while its stream was interrupted.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from forebay.controller.lean_kopf import ForbiddenError, kopf
from forebay.controller.tasks import run_until_one_ends
from forebay.controller.world import Wake, World, state_of
from forebay.kube.connection import accept_old
from forebay.kube.holdings import Owner
from forebay.kube.resources import MODEL_DEPLOYMENT

_log = logging.getLogger(__name__)
_REFUSED_S = 10.0


class _Lenient(kopf.ConnectionInfo):
    """A way to the apiserver of an old cluster, too."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """For TLS."""
        return accept_old(super().as_ssl_context())


class NoDiffs(kopf.DiffBaseStorage):
    """Nobody here asks what has changed in an object, which kopf finds out at each event by a copy and a comparison."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """An object has nothing that counts."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nor had it."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is written to objects."""


def build_registry(world: World, *, wake: Wake) -> kopf.OperatorRegistry:
    """The handlers. None of them changes an object, so kopf puts no finalizer and no annotation on any.

    All are coroutines: kopf runs plain functions in threads.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        return _Lenient(**{each.name: getattr(found, each.name) for each in fields(found)}) if found else None

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.persistence.diffbase_storage = NoDiffs()
        # What is watched is known: so no right to read CRDs and namespaces is needed.
        settings.scanning.disabled = True
        settings.networking.request_timeout = 30
        # Its streams end with the process: who leads next need not wait for what nobody reads any more.
        settings.queueing.exit_timeout = 0

    @kopf.on.event(MODEL_DEPLOYMENT.group, MODEL_DEPLOYMENT.version, MODEL_DEPLOYMENT.plural, registry=registry)
    async def follow(event: kopf.RawEvent, **_: Any) -> None:
        body = event["object"]
        owner = Owner(body["metadata"]["namespace"], body["metadata"]["name"])
        if event["type"] == "DELETED":
            world.drop(owner, uid=body["metadata"]["uid"])
        elif not world.put(body):
            return  # our own write, of which the answer told already
        wake(owner, state_of(body))

    return registry


async def follow_deployments(world: World, *, namespace: str, wake: Wake, on_start: Callable[[], None]) -> None:
    """Run kopf for a namespace or (empty) for all. `on_start` is called once it has taken the process's signals for
    itself. A namespace that is gone takes our rights in it along: it is tried again and again, and the others go on.
    """
    while True:
        try:
            await _run(build_registry(world, wake=wake), namespace, on_start)
        except ForbiddenError as error:
            if not namespace:
                raise
            _log.error(
                "namespace %s: nobody looks after its ModelDeployments, which can't be read: is it gone? Take it from"
                " watchNamespaces then: %s",
                namespace, error,
            )  # fmt: skip
            await asyncio.sleep(_REFUSED_S)
        else:
            return


async def _run(registry: kopf.OperatorRegistry, namespace: str, on_start: Callable[[], None]) -> None:
    """Its tasks are run here: `kopf.operator` in the end waits seconds for all tasks of the process, and cancels
    them.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry,
        clusterwide=not namespace,
        namespaces=[namespace] if namespace else (),
        standalone=True,
    )
    on_start()
    await run_until_one_ends(tasks)
