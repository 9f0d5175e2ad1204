"""Measures an instance's queue, and keeps its depth to what can be answered in time."""

from collections.abc import Mapping

import httpx

from forebay.local.runtime import RuntimeFiles
from forebay.metrics import STATS_FILTER, QueueStats, parse_queue_stats
from forebay.plan.depth import derive_depth
from forebay.plan.envoy import Address
from forebay.plan.envoy_queue import build_runtime
from forebay.plan.resolve import QueueLimits

# Share of the newest measurement in the service time, and the change of depth that is worth a write.
_SMOOTHING = 0.3
_DEPTH_CHANGE = 0.1


class Meter:
    """The queue of one instance: `stats` are the last that were read, `depth` is in force."""

    def __init__(
        self, limits: QueueLimits, *, admin: Address, runtime: RuntimeFiles, numbers: Mapping[str, str] | None = None
    ) -> None:
        self.stats = QueueStats()
        self.service_s = 0.0
        self._limits = limits
        self.depth = limits.depth
        self._url = f"http://{admin.host}:{admin.port}/stats/prometheus"
        self._runtime = runtime
        # Those that are no queue's.
        self._numbers = dict(numbers or {})
        self._write(self.depth)

    async def read(self, client: httpx.AsyncClient) -> None:
        """Read the stats once. An Envoy that doesn't answer leaves the last ones."""
        try:
            answer = await client.get(self._url, params={"filter": STATS_FILTER})
        except httpx.HTTPError:
            return
        stats = parse_queue_stats(answer.text).after(self.stats)
        self._follow(stats)
        self.stats = stats

    def _follow(self, stats: QueueStats) -> None:
        answered = stats.service_count - self.stats.service_count
        if answered <= 0:  # nothing new, or the sidecar is a new one
            return
        newest_s = (stats.service_sum_s - self.stats.service_sum_s) / answered
        self.service_s += (newest_s - self.service_s) * (_SMOOTHING if self.service_s else 1.0)
        if not self._limits.depth_derived:
            return
        depth = self._derive_depth()
        if abs(depth - self.depth) > self.depth * _DEPTH_CHANGE:
            self._write(depth)
            self.depth = depth

    def _derive_depth(self) -> int:
        limits = self._limits
        return derive_depth(slots=limits.slots, service_s=self.service_s, deadline_s=limits.timeout_s)

    def _write(self, depth: int) -> None:
        self._runtime.write(build_runtime(slots=self._limits.slots, depth=depth) | self._numbers)
