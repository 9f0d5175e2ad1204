"""One instance of a workload: the model server and the Envoy with its queue, and whether it is ready."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import httpx

from forebay.local.loopback import build_async_client
from forebay.local.meter import Meter
from forebay.local.model_instances import build_scaler_command, read_count
from forebay.local.models import show_sources
from forebay.local.process import Command, Process, describe_exit, read_tail
from forebay.local.runtime import RuntimeFiles
from forebay.metrics import InstanceSample
from forebay.plan.envoy_queue import QueueAddresses
from forebay.plan.model_instances import build_scaler_numbers
from forebay.plan.resolve import Server, Workload
from forebay.script_log import explain_load
from forebay.serving.instances import EXIT_UNSCALABLE
from forebay.triton_log import explain_failure, explain_hang

_STARTING_POLL_S = 0.1
_READY_POLL_S = 1.0
_PROBE_TIMEOUT_S = 2.0
_FAILURE_THRESHOLD = 3
# A server that was ready and has not answered for so long is taken for hung, and started again.
_HUNG_S = 20.0
_LAST_LINES = 3
_BACKENDS = "the Triton of `forebay serve` has the backends python, onnxruntime and fil; NVIDIA's image has more"


class State(StrEnum):
    """Where an instance stands."""

    LOADING = "loading"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


class Instance:
    """The processes of one instance. `on_change` is called whenever its state changes."""

    def __init__(
        self,
        workload: Workload,
        *,
        addresses: QueueAddresses,
        server: Command,
        queue: Command,
        on_change: Callable[["Instance"], None],
    ) -> None:
        self.name = server.name
        self.workload = workload
        self.addresses = addresses
        self.state = State.LOADING
        self.reason = ""
        self.since = time.monotonic()
        self.server = Process(server, on_exit=lambda status: self._on_exit("the model server", status))
        self.queue = Process(queue, on_exit=lambda status: self._on_exit("its queue", status))
        runtime = RuntimeFiles(Path(addresses.runtime_dir))
        # Without it all goes on: its end is told in its log alone, unless it is for good.
        scaler = build_scaler_command(workload, addresses, log=server.log.with_name(f"{server.name}.instances.log"))
        self.scaler = Process(scaler, on_exit=self._on_scaler_exit) if scaler else None
        numbers = build_scaler_numbers(workload)
        self.meter = Meter(workload.limits, admin=addresses.admin, runtime=runtime, numbers=numbers)
        # Of the model, where they are scaled; 0 while nobody says.
        self.model_instances = 0
        self._on_change = on_change
        self._was_ready = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the processes and watch them."""
        self.queue.start()
        self.server.start()
        if self.scaler:
            self.scaler.start()
        self._task = asyncio.create_task(self._watch(), name=f"watch {self.name}")

    async def stop(self, *, grace_s: float) -> None:
        """Stop the model server, then its queue, which outlives it."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self.scaler:
            await self.scaler.stop(grace_s=grace_s)
        await self.server.stop(grace_s=grace_s)
        await self.queue.stop(grace_s=grace_s)

    def kill(self) -> None:
        """End all processes at once."""
        if self.scaler:
            self.scaler.kill()
        self.server.kill()
        self.queue.kill()

    def sample(self) -> InstanceSample:
        """What the metrics say of this instance."""
        workload = self.workload
        labels = (workload.namespace, workload.deployment, str(workload.role), self.name)
        slots, depth = workload.limits.slots, self.meter.depth
        if self.model_instances:
            slots = slots * self.model_instances // workload.instances.least
            if workload.limits.depth_derived:
                depth = depth * self.model_instances // workload.instances.least
        return InstanceSample(labels=labels, stats=self.meter.stats, slots=slots, depth=depth)

    async def _watch(self) -> None:
        """Ask for readiness through the queue, as the gateway's requests come, and read the queue's numbers."""
        front = self.addresses.front
        url = f"http://{front.host}:{front.port}/v2/health/ready"
        failures = 0
        async with build_async_client(timeout_s=_PROBE_TIMEOUT_S) as client:
            while True:
                ready = await _is_ready(client, url) and await self._is_scaled(client)
                failures = 0 if ready else failures + 1
                with contextlib.suppress(OSError):  # on a full disk, it is told when it is judged next
                    self._judge(ready, failures)
                    if ready:
                        await self.meter.read(client)
                # A ready one that misses a check gets a second between the next two: a hiccup takes nobody out.
                await asyncio.sleep(_READY_POLL_S if self.state is State.READY else _STARTING_POLL_S)

    async def _is_scaled(self, client: httpx.AsyncClient) -> bool:
        """Whether the model's instances can be scaled, where they are to be. Once that is known it stays so."""
        if self.scaler:
            self.model_instances = await read_count(client, self.addresses) or self.model_instances
        return not self.scaler or self.model_instances > 0

    def _judge(self, ready: bool, failures: int) -> None:
        if ready and self.state is not State.READY:
            self._was_ready = True
            self._change(State.READY)
        elif self.state is State.READY and failures >= _FAILURE_THRESHOLD:
            self._change(State.LOADING, f"its readiness check failed {failures} times")
        elif not ready and self._was_ready:
            self._restart_hung()
        elif not ready:
            self._give_up_hanging()

    def _restart_hung(self) -> None:
        if self.state is State.LOADING and time.monotonic() - self.since > _HUNG_S:
            self._change(State.RESTARTING, f"it has not answered for {_HUNG_S:g} s")
            self.server.restart()

    def _on_exit(self, what: str, status: int) -> None:
        reason = f"{what} exited with {describe_exit(status)}"
        if self._was_ready:
            self._change(State.RESTARTING, reason)
        elif what == "its queue":
            self._change(State.FAILED, f"{reason}: {_last_lines(self.queue.command.log)}")
        else:
            self._change(State.FAILED, self._explain(reason, status))

    def _on_scaler_exit(self, status: int) -> None:
        if self.scaler and status == EXIT_UNSCALABLE and not self._was_ready:
            self._change(State.FAILED, _last_lines(self.scaler.command.log, most=1))

    def _explain(self, reason: str, status: int) -> str:
        log = self.server.command.log
        if self.workload.server is Server.TRITON:
            told = show_sources(explain_failure(read_tail(log), backends=_BACKENDS))
        else:
            told = _explain_script(self.server.command, status)
        return told or f"{reason}: {_last_lines(log)}"

    def _give_up_hanging(self) -> None:
        """Triton waits for ever for a Python model that has no code."""
        if self.workload.server is not Server.TRITON or self.state is not State.LOADING:
            return
        if reason := explain_hang(read_tail(self.server.command.log)):
            self._change(State.FAILED, show_sources(reason))

    def _change(self, state: State, reason: str = "") -> None:
        before = self.state, self.reason, self.since
        self.state, self.reason, self.since = state, reason, time.monotonic()
        try:
            self._on_change(self)
        except OSError:
            if state is not State.FAILED:  # for those who route, it is as it was
                self.state, self.reason, self.since = before
            raise


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


def _explain_script(command: Command, status: int) -> str:
    from forebay.serving.server import EXIT_LOAD, EXIT_SCRIPT  # noqa: PLC0415  (slow, and seldom needed)

    if status == EXIT_SCRIPT:
        return _last_lines(command.log)
    script = next(each.partition("=")[2] for each in command.argv if each.startswith("--script="))
    if status != EXIT_LOAD:
        return ""
    return explain_load(read_tail(command.log), script=script) or _last_lines(command.log, most=1)


def _last_lines(log: Path, *, most: int = _LAST_LINES) -> str:
    lines = [line for line in read_tail(log).splitlines() if line.strip() and not line.startswith("[forebay]")]
    return "\n".join(lines[-most:]) or f"nothing in {log}"
