"""What the leader does: follow everything, and let the workers look at whatever was woken."""

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial

from forebay.controller.analyses import Analyses
from forebay.controller.analysis_jobs import AnalysisJobs
from forebay.controller.builds import Builds
from forebay.controller.handlers import follow_deployments
from forebay.controller.history import History
from forebay.controller.metrics import Metrics
from forebay.controller.notifier import Notifier, NotifierSettings
from forebay.controller.panic import Panic
from forebay.controller.planning import Planner
from forebay.controller.pod_logs import PodLogs
from forebay.controller.prefetch import Prefetcher
from forebay.controller.questions import Asked
from forebay.controller.reconcile import Reconciler
from forebay.controller.scale_events import ScaleEvents
from forebay.controller.service_times import ServiceTimes
from forebay.controller.sleepers import Sleepers
from forebay.controller.tasks import run_until_one_ends
from forebay.controller.version_status import tell_versions
from forebay.controller.wakeups import Wakeups, spread
from forebay.controller.world import World
from forebay.kube.apply import Applier
from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.connection import Connection
from forebay.kube.gateways import Gateways
from forebay.kube.holdings import Owner
from forebay.kube.lease import Fence, LostLeaseError
from forebay.kube.optional import OptionalWatch
from forebay.kube.resources import AUTOSCALER, CHECKS, CHILDREN, MODEL_VERSION, OURS, POD, RECORDS, SCALED_OBJECT
from forebay.kube.rivals import NOT_OURS
from forebay.kube.watch import Scope, Watch
from forebay.serving.mlflow_login import read_login
from forebay.settings import Settings
from forebay.sidecars import Sidecars

_log = logging.getLogger(__name__)
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 60.0
_MOST_DOUBLINGS = 10
_GATEWAY_S = 10.0
_SIDECAR_S = 0.5
_PASSING = (ApiError, *UNANSWERED)


async def operate(
    connection: Connection, fence: Fence, metrics: Metrics, settings: Settings, *, on_start: Callable[[], None]
) -> None:
    """Look after all ModelDeployments until cancelled, or until the lead is lost (LostLeaseError)."""
    wakeups = Wakeups()
    world = World(wakeups.wake, wakeups.explain)
    metrics.watch_queue(lambda: len(wakeups))
    metrics.leader.set(1)
    sidecars = Sidecars(timeout_s=_SIDECAR_S)
    async with Client(connection, before_write=fence.check, on_write=metrics.count_write) as client, sidecars:
        gateways = Gateways(client, namespace=settings.namespace, on_change=wakeups.wake)
        service_times = ServiceTimes(wake=wakeups.wake)
        panic = Panic(world, gateways, sidecars, wake=wakeups.wake)
        sleepers = Sleepers(client, world, gateways, wake=wakeups.wake)
        asked = Asked(hosts=settings.notified_hosts, prometheus_url=settings.prometheus_url)
        analyses = Analyses(gateways, wake=wakeups.wake, asked=asked)
        keda = _build_keda_watches(client, world, settings)
        watches = {each: _build_watches(client, world, each) for each in settings.namespaces or ("",)}
        notifier = _build_notifier(client, metrics, settings)
        applier = Applier(client, world.children, on_own=world.note_own)
        reconciler = Reconciler(
            client=client,
            world=world,
            planner=Planner(settings.site),
            logs=PodLogs(client),
            applier=applier,
            history=History(applier=applier, clock=lambda: datetime.now(UTC)),
            gateways=gateways,
            service_times=service_times,
            panic=panic,
            sleepers=sleepers,
            analyses=analyses,
            analysis_jobs=AnalysisJobs(client, applier, world.children, settings.site, clock=lambda: datetime.now(UTC)),
            scale_events=ScaleEvents(metrics),
            notifier=notifier,
            settings=settings,
            has_keda=lambda: any(each.is_there for each in keda),
        )
        follow = partial(follow_deployments, world, wake=wakeups.wake, on_start=on_start)
        try:
            await run_until_one_ends(
                [
                    *(watch.run() for each in watches.values() for watch in each),
                    *(watch.run() for watch in keda),
                    *(watch.run() for watch in _build_version_watches(client, world, settings)),
                    tell_versions(client, world.versions, Prefetcher(client, settings.site)),
                    *Builds(client, settings).run(),
                    world.mlflow.run(
                        settings.mlflow_uri, read_login(os.environ), interval_s=settings.mlflow_interval_s
                    ),
                    gateways.run(),
                    service_times.run(world.pods.find_ready),
                    panic.run(),
                    sleepers.run(),
                    analyses.run(),
                    notifier.run(),
                    *(
                        _begin([*known, *keda], gateways, partial(follow, namespace=namespace))
                        for namespace, known in watches.items()
                    ),
                    wakeups.run(build_work(reconciler, wakeups, metrics), workers=settings.workers),
                ]
            )
        finally:
            metrics.leader.set(0)


def _build_notifier(client: Client, metrics: Metrics, settings: Settings) -> Notifier:
    told = NotifierSettings(
        enabled=settings.notifications == "true",
        hosts=settings.notified_hosts,
        secrets=settings.notification_secrets == "true",
        reporter=settings.pod_name,
    )
    return Notifier(client, told, count=metrics.count_notification, clock=lambda: datetime.now(UTC))


def _build_watches(client: Client, world: World, namespace: str) -> list[Watch]:
    scope = Scope(namespace=namespace, selector=OURS)
    followers = {
        resource: world.follow_children(resource, namespace=namespace) for resource in (*CHILDREN, *RECORDS, *CHECKS)
    }
    followers[POD] = world.follow_pods(namespace=namespace)
    watches = [Watch(client, resource, scope, follower) for resource, follower in followers.items()]
    return [*watches, Watch(client, AUTOSCALER, Scope(namespace, NOT_OURS), world.rivals.follow())]


def _build_keda_watches(client: Client, world: World, settings: Settings) -> list[OptionalWatch]:
    """KEDA's objects, also where another scales by now: what it is handed over from must be known."""
    return [
        OptionalWatch(
            client,
            SCALED_OBJECT,
            Scope(namespace=namespace, selector=OURS),
            world.follow_children(SCALED_OBJECT, namespace=namespace),
            on_turn=world.wake_all,
        )
        for namespace in settings.namespaces or ("",)
    ]


def _build_version_watches(client: Client, world: World, settings: Settings) -> list[Watch]:
    """Nobody waits for these but who names a version: a cluster whose CRDs are older still serves what it has."""
    scopes = [Scope(namespace=namespace) for namespace in settings.namespaces or ("",)]
    return [Watch(client, MODEL_VERSION, each, world.versions.follow(namespace=each.namespace)) for each in scopes]


async def _begin(
    watches: Iterable[Watch | OptionalWatch], gateways: Gateways, follow: Callable[[], Awaitable[None]]
) -> None:
    """Nothing is decided in a namespace before all its children are known: one that isn't would be taken for missing.
    It waits alone: where it is gone they never are.
    """
    for watch in watches:
        await watch.synced.wait()
    # Nor before the gateway is, which would be taken for new, unless it can't be asked.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GATEWAY_S):
            await gateways.asked.wait()
    await follow()


def build_work(reconciler: Reconciler, wakeups: Wakeups, metrics: Metrics) -> Callable[[Owner], Awaitable[None]]:
    """A look at one, after which it is known when the next one is due."""
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
            delay_s = spread(min(_FIRST_RETRY_S * 2 ** min(failures[owner] - 1, _MOST_DOUBLINGS), _LAST_RETRY_S))
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
            wakeups.wake_in(owner, delay_s)

    return work
