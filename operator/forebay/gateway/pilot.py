"""The pilot: from the apiserver's objects to Envoy's config, until it is told to stop."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial

from forebay.gateway.admin import EnvoyAdmin
from forebay.gateway.answer_log import AnswerLog
from forebay.gateway.authorization import AuthorizationServer
from forebay.gateway.counts import count_answers
from forebay.gateway.drain import drain_envoy
from forebay.gateway.holder import Holder
from forebay.gateway.idle import IdleWatch
from forebay.gateway.keys import ApiKeys
from forebay.gateway.meter import Meter
from forebay.gateway.objects import Deployment
from forebay.gateway.owners import Owners
from forebay.gateway.release import Releaser
from forebay.gateway.report import Json, build_report
from forebay.gateway.secrets import SecretReader
from forebay.gateway.server import DiscoveryServer
from forebay.gateway.settings import PilotSettings
from forebay.gateway.sources import Sources
from forebay.gateway.state import Key, State
from forebay.gateway.waker import Waker
from forebay.gateway.web import build_app
from forebay.http_port import serve_app
from forebay.kube.client import Client
from forebay.kube.watch import Watch, wait_settled

# Changes that come together are sent together.
_TOGETHER_S = 0.002
_SECRETS_S = 15.0
_log = logging.getLogger(__name__)


class Pilot:
    """One process, beside one Envoy."""

    def __init__(self, client: Client, admin: EnvoyAdmin, settings: PilotSettings) -> None:
        self._client = client
        self._admin = admin
        self._settings = settings
        self._state = State(data_port=settings.data_port)
        self._server = DiscoveryServer(lambda: self._state.snapshot)
        self._secrets = SecretReader(
            client, find_wanted=self._find_secrets, find_known=self._state.keys.get, on_read=self._take_keys
        )
        self._changed = asyncio.Event()
        self._holder = Holder(
            self._state, Releaser(self._state, self._server, admin), wake=self._wake, changed=self._changed.set
        )
        self._waker = Waker(client, self._holder.find_asleep)
        owners = Owners(self._state)
        self._idle = IdleWatch(self._state, owners, admin, self._holder)
        self._meter = Meter(self._state, self._server, admin, owners=owners, holder=self._holder)
        self._ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain Envoy."""
        app = build_app(
            is_ready=lambda: self._ready,
            build_routes=lambda: build_report(self._state, self._server.conversation),
            questions={
                "load": self._tell_load,
                "idle": self._tell_idle,
                "counts": partial(count_answers, self._admin),
                "comparisons": self._tell_comparisons,
            },
            private={"differences": self._tell_differences},
            write_metrics=self._meter.write,
        )
        async with serve_app(app, port=self._settings.port):
            await self._server.start(
                self._settings.xds_socket, AuthorizationServer(self._holder), AnswerLog(self._meter.comparisons)
            )
            try:
                await self._work(stop)
            finally:
                await self._waker.stop()
                self._holder.close()
                await self._server.stop()

    async def _work(self, stop: asyncio.Event) -> None:
        sources = Sources(
            self._state, put_deployment=self._put_deployment, changed=self._changed.set,
            failed=self._meter.count_failure,
        )  # fmt: skip
        watches = [*sources.build(self._client, self._settings)]
        own = sources.build_own(self._client, self._settings)
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(watch.run()) for watch in (*watches, own)]
            work.append(tasks.create_task(self._publish(watches)))
            work += [tasks.create_task(each) for each in (self._holder.run(), self._idle.run())]
            await stop.wait()
            await drain_envoy(self._admin)
            for task in work:
                task.cancel()

    async def _publish(self, watches: Sequence[Watch]) -> None:
        """Send what has changed, once all is known."""
        await wait_settled(watches)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECRETS_S):
                await self._secrets.read_first()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._secrets.run())
            while True:
                self._changed.clear()
                self._state.build()
                self._server.publish()
                if not self._ready:
                    self._ready = True
                    self._holder.open()
                    _log.info("synced: %d ModelDeployments", len(self._state.deployments))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._state.measure_due_s()):
                        await self._changed.wait()
                await asyncio.sleep(_TOGETHER_S)

    async def _tell_load(self, _: Sequence[str]) -> Json:
        """Requests in flight or held by deployment, where there are any: an idle gateway says little."""
        return {"load": await self._meter.count_load()}

    async def _tell_idle(self, _: Sequence[str]) -> Json:
        """For how long those that may sleep have had no request; before all is known it is not known of whom."""
        if not self._ready:
            raise OSError("not synced yet")
        return {"idle": await self._idle.tell()}

    async def _tell_comparisons(self, routes: Sequence[str]) -> Json:
        """What became of the copies of these deployments' requests."""
        return {"comparisons": self._meter.comparisons.tell(routes), "uptimeS": self._meter.comparisons.uptime_s}

    async def _tell_differences(self, routes: Sequence[str]) -> Json:
        """The same, with the last answers that differ."""
        return {"comparisons": self._meter.comparisons.tell(routes, with_examples=True)}

    def _wake(self, route: str) -> None:
        self._waker.wake(route)

    def _put_deployment(self, deployment: Deployment) -> None:
        self._state.put_deployment(deployment)
        if deployment.secret and self._ready:
            self._secrets.ask((deployment.namespace, deployment.secret))

    def _find_secrets(self) -> set[Key]:
        wanted = {(each.namespace, each.secret) for each in self._state.deployments.values() if each.secret}
        self._state.drop_keys(wanted)
        return wanted

    def _take_keys(self, secret: Key, keys: ApiKeys) -> None:
        self._state.put_keys(secret, keys)
        self._changed.set()
