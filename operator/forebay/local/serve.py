"""`forebay serve`: from manifests to running processes, until Ctrl-C."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console

from forebay.api import ModelDeployment
from forebay.local.deployment import Deployment
from forebay.local.display import Display
from forebay.local.errors import LocalError
from forebay.local.exporter import Exporter
from forebay.local.gateway import Gateway
from forebay.local.instance import Instance, State
from forebay.local.loopback import build_async_client
from forebay.local.ports import find_free_ports, require_free_port
from forebay.local.run_folder import Record, RunFolder
from forebay.local.summary import build_summary, show_summary
from forebay.plan.envoy_gateway import build_route
from forebay.plan.names import build_route_name
from forebay.plan.resolve import Serving, resolve

_PREFERRED_PORT = 8080
_STOP_GRACE_S = 10.0
_POLL_S = 0.05
_GATEWAY_S = 5.0
_PROGRESS_EVERY_S = 5.0


class Session:
    """One run of `forebay serve`."""

    def __init__(self, manifests: Sequence[ModelDeployment], *, port: int | None, console: Console) -> None:
        self._servings = [resolve(manifest) for manifest in manifests]
        self._port = port
        self._console = console
        self._display = Display(console)
        self._deployments: list[Deployment] = []
        self._gateway: Gateway | None = None
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until stopped. Raises LocalError when something can't start."""
        beside = [_route_name(serving) for serving in self._servings]
        async with contextlib.AsyncExitStack() as stack:
            for serving in self._servings:
                folder = RunFolder(_route_name(serving))
                stack.callback(folder.close)
                deployment = Deployment(serving, folder, beside=beside)
                stack.callback(deployment.close)
                self._deployments.append(deployment)
            port = self._choose_port()
            if not await self._prepare():
                return
            stack.push_async_callback(self._end, grace_s=0)
            exporter = Exporter(lambda: [i for deployment in self._deployments for i in deployment.instances])
            stack.callback(exporter.stop)
            self._start(port)
            if await self._until_ready():
                await self._announce(exporter.url)
                await self._stop.wait()
                await self._drain()
            await self._end(grace_s=_STOP_GRACE_S)
            self._display.say("stopped")

    def stop(self) -> None:
        """End `run` after a drain. A second call ends everything at once."""
        if self._stop.is_set():
            self._kill()
            self._console.show_cursor()
            os._exit(130)
        self._stop.set()

    def hang_up(self) -> None:
        """End `run` after a drain: the terminal is closed, and nothing can be written to it any more."""
        self._console.quiet = True
        self._stop.set()

    async def _prepare(self) -> bool:
        """Bring all files here; False when it was stopped meanwhile."""
        preparing = asyncio.create_task(self._prepare_deployments())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if preparing.done():
            await preparing
            return True
        preparing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await preparing
        return False

    async def _prepare_deployments(self) -> None:
        for deployment in self._deployments:
            await deployment.prepare(self._display)

    def _choose_port(self) -> int:
        if self._port is not None:
            require_free_port(self._port)
            return self._port
        try:
            require_free_port(_PREFERRED_PORT)
        except LocalError as error:
            taken, _, _ = str(error).partition(":")
            self._display.say(f"{taken}: serving at another")
            return find_free_ports(1)[0]
        return _PREFERRED_PORT

    def _start(self, port: int) -> None:
        routes = [build_route(each.serving, each.pools[-1].members("gateway")) for each in self._deployments]
        folder = self._deployments[0].folder.path
        self._gateway = Gateway(routes, port=port, folder=folder, on_event=self._display.warn)
        self._gateway.process.start()
        for deployment in self._deployments:
            for pool in deployment.pools:
                pool.on_event = self._tell
                for instance in pool.instances:
                    instance.start()

    async def _until_ready(self) -> bool:
        """Wait for every instance; False when it was stopped meanwhile."""
        instances = [instance for each in self._deployments for instance in each.instances]
        told = started = time.monotonic()
        with self._console.status("loading") as status:
            while waiting := [each for each in instances if each.state is not State.READY]:
                failed = [each for each in waiting if each.state is State.FAILED]
                if failed:
                    raise LocalError(
                        "\n".join(f"{self._name(each)}: {each.reason}\n  log: {_log(each)}" for each in failed)
                    )
                if self._stop.is_set():
                    return False
                now = time.monotonic()
                text = f"loading for {now - started:.0f} s: {', '.join(each.name for each in waiting)}"
                status.update(text)
                if not self._console.is_terminal and now - told > _PROGRESS_EVERY_S:
                    told = now
                    self._display.say(text)
                await asyncio.sleep(_POLL_S)
        return True

    async def _announce(self, metrics: str) -> None:
        assert self._gateway is not None  # noqa: S101  (started before)
        address = self._gateway.address
        for deployment in self._deployments:
            serving = deployment.serving
            name = _route_name(serving)
            record = Record(
                name=name,
                url=f"http://{address.host}:{address.port}/{name}",
                grpc=f"{address.host}:{address.port}",
                metrics=metrics,
                model=serving.predictor.served_model if not serving.transformers else serving.name,
                entry=str(serving.entry.role),
                pid=os.getpid(),
            )
            metadata = await _read_metadata(record)
            deployment.folder.publish(record)
            summary = build_summary(record, deployment.instances, metadata=metadata)
            show_summary(self._console, summary)
        self._console.print("\n[dim]Ctrl-C drains and stops; a second one ends it at once.[/]")

    def _tell(self, instance: Instance) -> None:
        if self._stop.is_set() or instance.state is State.FAILED:  # which ends it all, with the reason
            return
        name = self._name(instance)
        if instance.state is State.READY:
            self._display.say(f"{name} is ready")
        else:
            self._display.warn(f"{name} is {instance.state}: {instance.reason}")

    def _name(self, instance: Instance) -> str:
        return f"{instance.workload.deployment}/{instance.name}" if len(self._deployments) > 1 else instance.name

    async def _drain(self) -> None:
        assert self._gateway is not None  # noqa: S101  (started before)
        self._display.say("draining: no new connection is taken, requests in flight are finished")
        limit_s = max(serving.entry.limits.timeout_s for serving in self._servings) + 1
        with self._console.status("draining") as status:
            left = await self._gateway.drain(
                limit_s=limit_s, on_wait=lambda active: status.update(f"draining: {active} in flight")
            )
        if left:
            self._display.warn(f"{left} requests were not answered within {limit_s:g} s")

    async def _end(self, *, grace_s: float) -> None:
        with self._console.status("stopping"):  # a Triton takes seconds
            if self._gateway:
                await self._gateway.process.stop(grace_s=grace_s)
            await asyncio.gather(*(_stop(each, grace_s=grace_s) for each in self._deployments))

    def _kill(self) -> None:
        if self._gateway:
            self._gateway.process.kill()
        for deployment in self._deployments:
            for instance in deployment.instances:
                instance.kill()


async def serve(manifests: Sequence[ModelDeployment], *, port: int | None, console: Console) -> None:
    """Serve ModelDeployments on this machine until SIGINT or SIGTERM. Raises LocalError when they can't be."""
    session = Session(manifests, port=port, console=console)
    task = asyncio.ensure_future(session.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, session.stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        loop.add_signal_handler(signal.SIGHUP, session.hang_up)
    await task


async def _stop(deployment: Deployment, *, grace_s: float) -> None:
    for pool in reversed(deployment.pools):  # transformers before the predictors that they call
        await asyncio.gather(*(instance.stop(grace_s=grace_s) for instance in pool.instances))


async def _read_metadata(record: Record) -> dict[str, object]:
    """What the model declares, as soon as the gateway knows the ready instances; nothing when it can't be had."""
    deadline = time.monotonic() + _GATEWAY_S
    async with build_async_client(timeout_s=_GATEWAY_S) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.get(f"{record.url}/v2/models/{record.model}")
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return dict(answer.json()) if answer.is_success else {}
            await asyncio.sleep(_POLL_S)
    return {}


def _route_name(serving: Serving) -> str:
    return build_route_name(namespace=serving.namespace, deployment=serving.name)


def _log(instance: Instance) -> Path:
    return instance.server.command.log
