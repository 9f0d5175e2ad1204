"""What the leader does: follow everything, and let the workers look at whatever was woken."""

import asyncio
import contextlib
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from forebay.controller.builds import Builds
from forebay.controller.handlers import follow_deployments
from forebay.controller.metrics import Metrics
from forebay.controller.planning import Planner
from forebay.controller.pod_logs import PodLogs
from forebay.controller.prefetch import Prefetcher
from forebay.controller.reconcile import Reconciler
from forebay.controller.service_times import ServiceTimes
from forebay.controller.tasks import run_until_one_ends
from forebay.controller.version_status import tell_versions
from forebay.controller.wakeups import Wakeups
from forebay.controller.world import World
from forebay.kube.apply import Applier
from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.connection import Connection
from forebay.kube.gateways import Gateways
from forebay.kube.holdings import Owner
from forebay.kube.lease import Fence, LostLeaseError
from forebay.kube.resources import CHILDREN, MODEL_VERSION, OURS, POD
from forebay.kube.watch import Scope, Watch
from forebay.mlflow.server import read_login
from forebay.settings import Settings

_log = logging.getLogger(__name__)
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 60.0
_MOST_DOUBLINGS = 10
_GATEWAY_S = 10.0
_PASSING = (ApiError, *UNANSWERED)


async def operate(
    connection: Connection, fence: Fence, metrics: Metrics, settings: Settings, *, on_start: Callable[[], None]
) -> None:
    """Look after all ModelDeployments until cancelled, or until the lead is lost (LostLeaseError)."""
    wakeups = Wakeups()
    world = World(wakeups.wake, wakeups.explain)
    metrics.watch_queue(lambda: len(wakeups))
    metrics.leader.set(1)
    async with Client(connection, before_write=fence.check, on_write=metrics.count_write) as client:
        gateways = Gateways(client, namespace=settings.namespace, on_change=wakeups.wake)
        service_times = ServiceTimes(wake=wakeups.wake)
        reconciler = Reconciler(
            client=client,
            world=world,
            planner=Planner(settings.site),
            logs=PodLogs(client),
            applier=Applier(client, world.children, on_own=world.note_own),
            gateways=gateways,
            service_times=service_times,
            settings=settings,
        )
        watches = _build_watches(client, world, settings)
        follow = partial(follow_deployments, world, settings, wake=wakeups.wake, on_start=on_start)
        try:
            await run_until_one_ends(
                [
                    *(watch.run() for watch in watches),
                    *(watch.run() for watch in _build_version_watches(client, world, settings)),
                    tell_versions(client, world.versions, Prefetcher(client, settings.site)),
                    *Builds(client, settings).run(),
                    world.mlflow.run(
                        settings.mlflow_uri, read_login(os.environ), interval_s=settings.mlflow_interval_s
                    ),
                    gateways.run(),
                    service_times.run(world.pods.find_ready),
                    _begin(watches, gateways, follow),
                    wakeups.run(_build_work(reconciler, wakeups, metrics), workers=settings.workers),
                ]
            )
        finally:
            metrics.leader.set(0)


def _build_watches(client: Client, world: World, settings: Settings) -> list[Watch]:
    watches: list[Watch] = []
    for namespace in settings.namespaces or ("",):
        scope = Scope(namespace=namespace, selector=OURS)
        followers = {resource: world.follow_children(resource, namespace=namespace) for resource in CHILDREN}
        followers[POD] = world.follow_pods(namespace=namespace)
        watches += [Watch(client, resource, scope, follower) for resource, follower in followers.items()]
    return watches


def _build_version_watches(client: Client, world: World, settings: Settings) -> list[Watch]:
    """Nobody waits for these but who names a version: a cluster whose CRDs are older still serves what it has."""
    scopes = [Scope(namespace=namespace) for namespace in settings.namespaces or ("",)]
    return [Watch(client, MODEL_VERSION, each, world.versions.follow(namespace=each.namespace)) for each in scopes]


async def _begin(watches: Iterable[Watch], gateways: Gateways, follow: Callable[[], Awaitable[None]]) -> None:
    """Nothing is decided before all children are known: one that isn't would be taken for missing."""
    for watch in watches:
        await watch.synced.wait()
    # Nor before the gateway is, which would be taken for new, unless it can't be asked.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(gateways.asked.wait(), timeout=_GATEWAY_S)
    await follow()


def _build_work(reconciler: Reconciler, wakeups: Wakeups, metrics: Metrics) -> Callable[[Owner], Awaitable[None]]:
    failures: Counter[Owner] = Counter()

    async def work(owner: Owner) -> None:
        began = time.monotonic()
        try:
            delay_s = await reconciler.reconcile(owner)
        except LostLeaseError:
            raise
        except Exception as error:  # noqa: BLE001  (one object's failure must not end the others': told, counted, retried)
            passing = isinstance(error, _PASSING)
            _log.warning("%s/%s: tried again soon: %s", *owner, error, exc_info=None if passing else error)
            metrics.reconciles.labels("retried" if passing else "failed").inc()
            failures[owner] += 1
            delay_s = min(_FIRST_RETRY_S * 2 ** min(failures[owner] - 1, _MOST_DOUBLINGS), _LAST_RETRY_S)
        else:
            metrics.reconciles.labels("done").inc()
            failures.pop(owner, None)
        metrics.duration.observe(time.monotonic() - began)
        body = reconciler.world.find(owner)
        if delay_s is None or body is None:
            metrics.drop(owner)
            wakeups.forget(owner)
        else:
            metrics.note(owner, body.get("status", {}))
            wakeups.wake_in(owner, delay_s * random.uniform(0.9, 1.1))  # noqa: S311  (to spread, not to hide)

    return work
