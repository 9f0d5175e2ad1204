"""What a server takes while it answers example requests, one alone and many at once."""

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from forebay.local.process_tree import read_cpu_s, read_peak_memory_mib

_ALONE = 5
_LEVEL_S = 0.6
# A server that takes seconds for a request isn't kept at it for minutes.
_BUDGET_S = 12.0
# Below this, what is measured at once is rather the client.
_WORTH_COMPARING_S = 0.005
_MOST_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Seconds from start to ready, peak memory; then, where requests were sent, what they took.

    `service_s` is that of a request alone, `cpus` how many were busy with `concurrency` requests at once, `rates` the
    answers per second by how many were sent at once.
    """

    start_s: float
    memory_mib: int
    service_s: float = 0.0
    cpus: float = 0.0
    rates: Mapping[int, float] = field(default_factory=dict)


def measure(pid: int, *, start_s: float, concurrency: int, send: Callable[[], object] | None) -> Measurement:
    """Measure a server that is ready. `send` sends one request and waits for the answer; it may raise."""
    if send is None:
        return Measurement(start_s=start_s, memory_mib=read_peak_memory_mib(pid))
    deadline = time.monotonic() + _BUDGET_S
    service_s = _measure_alone(send, deadline)
    rates: dict[int, float] = {}
    for level in _choose_levels(concurrency) if service_s >= _WORTH_COMPARING_S else []:
        if time.monotonic() < deadline:
            rates[level] = _send_at_once(send, level)
    before, started = read_cpu_s(pid), time.monotonic()
    rates[concurrency] = _send_at_once(send, concurrency)
    cpus = (read_cpu_s(pid) - before) / (time.monotonic() - started)
    # Before more is tried than will ever be sent.
    memory_mib = read_peak_memory_mib(pid)
    for level in (2 * concurrency, 4 * concurrency) if service_s >= _WORTH_COMPARING_S else []:
        if time.monotonic() < deadline and level <= _MOST_AT_ONCE:
            rates[level] = _send_at_once(send, level)
    return Measurement(start_s=start_s, memory_mib=memory_mib, service_s=service_s, cpus=cpus, rates=rates)


def _choose_levels(concurrency: int) -> list[int]:
    """Powers of two below it."""
    return [2**power for power in range(8) if 2**power < concurrency]


def _measure_alone(send: Callable[[], object], deadline: float) -> float:
    taken = []
    for _ in range(_ALONE):
        started = time.monotonic()
        send()
        taken.append(time.monotonic() - started)
        if time.monotonic() > deadline:
            break
    return statistics.median(taken)


def _send_at_once(send: Callable[[], object], level: int) -> float:
    """Answers per second while `level` requests are always under way, each sender's first one at least."""
    started = time.monotonic()
    deadline = started + _LEVEL_S

    def keep_sending() -> int:
        sent = 0
        while sent == 0 or time.monotonic() < deadline:
            send()
            sent += 1
        return sent

    with ThreadPoolExecutor(level, thread_name_prefix="example") as pool:
        sent = sum(future.result() for future in [pool.submit(keep_sending) for _ in range(level)])
    return sent / (time.monotonic() - started)
