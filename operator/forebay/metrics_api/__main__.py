"""`python -m forebay.metrics_api`: how busy instances are, for HorizontalPodAutoscalers."""

import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack

import uvloop
from aiohttp import web

from forebay.environment import SettingsError
from forebay.http_port import serve_app
from forebay.kube.client import Client
from forebay.kube.connection import find_pod_connection
from forebay.kube.watch import Watch, wait_settled
from forebay.logs import set_up_logs
from forebay.metrics_api.instances import Instances
from forebay.metrics_api.load import Load
from forebay.metrics_api.prometheus import Prometheus
from forebay.metrics_api.registration import Registration
from forebay.metrics_api.settings import MetricsApiSettings, read_settings
from forebay.metrics_api.web import MetricsApi
from forebay.sidecars import Sidecars

_log = logging.getLogger("forebay.metrics_api")
# An autoscaler rather has the others' values now than all of them late.
_SIDECAR_S = 0.5
_PROMETHEUS_S = 5.0


async def serve(settings: MetricsApiSettings) -> None:
    """Answer until SIGTERM."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    connection = find_pod_connection(settings.service_account)
    if connection is None:
        sys.exit("error: the metrics API runs in a pod of a cluster, by its ServiceAccount: there is none")
    instances = Instances()
    sidecars = Sidecars(timeout_s=_SIDECAR_S, port=settings.sidecar_port)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(connection))
        await stack.enter_async_context(sidecars)
        prometheus = await _find_prometheus(stack, settings)
        watches = instances.build_watches(client, settings.namespaces)
        registration = Registration(client, settings)
        ready = asyncio.Event()
        api = MetricsApi(instances, Load(sidecars), prometheus, is_ready=ready.is_set)
        work = _work(api, registration, watches, settings, ready=ready)
        tasks = [asyncio.create_task(work), asyncio.create_task(stop.wait())]
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for task in done:
            task.result()
    _log.info("stopped")


async def _find_prometheus(stack: AsyncExitStack, settings: MetricsApiSettings) -> Prometheus | None:
    if not settings.prometheus_url:
        return None
    return await stack.enter_async_context(Prometheus(settings.prometheus_url, timeout_s=_PROMETHEUS_S))


async def _work(
    api: MetricsApi,
    registration: Registration,
    watches: list[Watch],
    settings: MetricsApiSettings,
    *,
    ready: asyncio.Event,
) -> None:
    async with serve_app(_build_probes(ready), port=settings.port), asyncio.TaskGroup() as tasks:
        for watch in watches:
            tasks.create_task(watch.run())
        await registration.begin()
        async with serve_app(
            api.build_app(registration.is_trusted), port=settings.api_port, context=registration.context
        ):
            await wait_settled(watches)
            ready.set()
            _log.info("serving")
            await registration.run()


def _build_probes(ready: asyncio.Event) -> web.Application:
    async def answer_health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def answer_ready(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready.is_set() else web.Response(status=503, text="not yet\n")

    app = web.Application()
    app.add_routes([web.get("/healthz", answer_health), web.get("/readyz", answer_ready)])
    return app


def main() -> int:
    """Run until told to stop."""
    try:
        settings = read_settings()
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    set_up_logs(form=settings.log_format, level=settings.log_level)
    uvloop.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
