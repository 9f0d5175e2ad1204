"""The load generator, a process of its own: a Load as JSON on stdin, its samples as JSON on stdout.

Connections are kept alive, as HTTP libraries do: a request takes an idle one, or opens one. Who gives up closes the
connection, and so the next request may have to open another. Latency counts from the request's arrival, a new
connection's handshake included.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import uvloop

from tests.bench.load import FAILED, GAVE_UP, Load, Sample, build_schedule

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = 0o2004000
_ABSOLUTE = 1
_HEAD_START_S = 0.2
_GRACE_S = 2.0
_POLL_S = 0.01
_PRIORITY = -10


def run_load(load: Load) -> list[Sample]:
    """Put the load on from a process of its own, and wait for the end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.client"],
        input=json.dumps(asdict(load)), capture_output=True, text=True, timeout=load.seconds + 30, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the load generator ended with status {done.returncode}: {done.stderr}")
    return [Sample(*values) for values in json.loads(done.stdout)]


class _Alarm:
    """Calls back at a time of the monotonic clock. Event loops' own timers are coarse: whole milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        self._ring = ring
        loop.add_reader(self._fd, self._on_ready)

    def set(self, at_s: float) -> None:
        """Ring at this time, at once where it has passed."""
        seconds, fraction = divmod(at_s, 1)
        spec = (ctypes.c_long * 4)(0, 0, int(seconds), int(fraction * 1e9))
        self._libc.timerfd_settime(self._fd, _ABSOLUTE, spec, None)

    def _on_ready(self) -> None:
        os.read(self._fd, 8)
        self._ring()


@dataclass
class _Exchange:
    arrived_s: float
    lag_s: float
    timer: asyncio.TimerHandle | None = None
    connection: "_Connection | None" = None
    done: bool = False


class _Connection(asyncio.Protocol):
    """One connection with at most one request on it. Answers need a Content-Length, as all that are loaded here do."""

    def __init__(self, generator: "_Generator") -> None:
        self._generator = generator
        self._received = b""
        self.exchange: _Exchange | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or self.exchange is None:
            return
        head = head.lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        exchange, self.exchange = self.exchange, None
        keep = b"connection: close" not in head
        self._generator.finish(exchange, int(head[9:12]), self if keep else None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.forget(self)
        if self.exchange is not None:
            self._generator.finish(self.exchange, FAILED, None)


class _Generator:
    """Sends one load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._alarm = _Alarm(self._loop, self._on_alarm)
        head = f"POST {load.path} HTTP/1.1\r\nhost: {load.host}:{load.port}\r\ncontent-type: application/json\r\n"
        self._request = f"{head}content-length: {len(load.body)}\r\n\r\n{load.body}".encode()
        self._idle: list[_Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._schedule: list[float] = []
        self._next = 0
        self._unfinished = 0
        self._start_s = 0.0
        self._samples: list[Sample] = []

    async def run(self) -> list[Sample]:
        """Open the connections, send, and wait for the last answer."""
        for _ in range(self._load.connections):
            self._idle.append(await self._open())
        gc.disable()  # a pause would be a lag
        self._start_s = time.monotonic()
        if self._load.rate_per_s:
            self._start_poisson()
        else:
            for _ in range(self._load.connections):
                self._arrive(self._start_s, lag_s=0.0)
        end_s = self._start_s + self._load.seconds
        await asyncio.sleep(end_s - time.monotonic())
        await self._wait_for_the_rest(end_s + self._load.patience_s + _GRACE_S)
        return self._samples

    def _start_poisson(self) -> None:
        load = self._load
        self._schedule = build_schedule(rate_per_s=load.rate_per_s, seconds=load.seconds, seed=load.seed)
        self._start_s = time.monotonic() + _HEAD_START_S
        self._alarm.set(self._start_s + self._schedule[0])

    async def _wait_for_the_rest(self, deadline_s: float) -> None:
        for _ in range(int(max(0.0, deadline_s - time.monotonic()) / _POLL_S)):
            if not self._unfinished:
                return
            await asyncio.sleep(_POLL_S)

    async def _open(self) -> _Connection:
        _, connection = await self._loop.create_connection(lambda: _Connection(self), self._load.host, self._load.port)
        return connection

    def _on_alarm(self) -> None:
        now = time.monotonic()
        while self._next < len(self._schedule):
            due_s = self._start_s + self._schedule[self._next]
            if due_s > now:
                self._alarm.set(due_s)
                return
            self._next += 1
            self._arrive(now, lag_s=now - due_s)
            now = time.monotonic()

    def _arrive(self, now: float, *, lag_s: float) -> None:
        exchange = _Exchange(now, lag_s)
        self._unfinished += 1
        exchange.timer = self._loop.call_later(self._load.patience_s, self._give_up, exchange)
        if self._idle:
            self._send(exchange, self._idle.pop())
        else:
            task = asyncio.ensure_future(self._open_and_send(exchange))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open_and_send(self, exchange: _Exchange) -> None:
        try:
            connection = await self._open()
        except OSError:
            self.finish(exchange, FAILED, None)
            return
        if exchange.done:
            self._idle.append(connection)
        else:
            self._send(exchange, connection)

    def _send(self, exchange: _Exchange, connection: _Connection) -> None:
        exchange.connection, connection.exchange = connection, exchange
        connection.transport.write(self._request)

    def _give_up(self, exchange: _Exchange) -> None:
        connection = exchange.connection
        if connection is not None:
            connection.exchange = None
            connection.transport.abort()
        self.finish(exchange, GAVE_UP, None)

    def finish(self, exchange: _Exchange, status: int, kept: _Connection | None) -> None:
        """Note how a request ended; its connection is kept for another."""
        if exchange.done:
            return
        now = time.monotonic()
        exchange.done = True
        exchange.timer.cancel()
        self._unfinished -= 1
        arrived_s = exchange.arrived_s
        self._samples.append(Sample(arrived_s - self._start_s, exchange.lag_s, now - arrived_s, status))
        if kept is not None:
            self._idle.append(kept)
        if not self._load.rate_per_s and now < self._start_s + self._load.seconds:
            self._arrive(now, lag_s=0.0)

    def forget(self, connection: _Connection) -> None:
        """The server closed an idle connection."""
        if connection in self._idle:
            self._idle.remove(connection)


async def _main() -> None:
    # Clients have machines of their own: what is loaded here must not make them late. Needs root, and goes without.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    samples = await _Generator(Load(**json.load(sys.stdin))).run()
    json.dump([list(asdict(each).values()) for each in samples], sys.stdout)


if __name__ == "__main__":
    uvloop.run(_main())
