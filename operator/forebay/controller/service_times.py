"""Service times, measured at the instances: where the user doesn't say how deep a queue may be it follows from them.

The time that a queue's depth was made from stands in an annotation of its ConfigMap: a new operator goes on from there.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiohttp

from forebay.kube.children import Child, Id
from forebay.kube.connection import bracket
from forebay.kube.holdings import Owner
from forebay.metrics import STATS_FILTER, QueueStats, parse_queue_stats
from forebay.plan.names import METRICS_PORT, SERVICE_TIME_ANNOTATION
from forebay.plan.pods import build_queue_map_name
from forebay.plan.resolve import Serving

Json = dict[str, Any]

_log = logging.getLogger(__name__)
_PERIOD_S = 30.0
_TIMEOUT = aiohttp.ClientTimeout(total=2)
# Share of the newest measurement, the fewest answers that are one, and the change that is worth a write.
_SMOOTHING = 0.3
_FEWEST = 10
_CHANGE = 0.1

Key = tuple[Owner, str]


class ServiceTimes:
    """Service times of all components, each measured at one of its instances at a time."""

    def __init__(self, *, wake: Callable[[Owner], None], period_s: float = _PERIOD_S, port: int = METRICS_PORT) -> None:
        self._wake = wake
        self._period_s = period_s
        self._port = port
        self._service_s: dict[Key, float] = {}
        self._seen: dict[Key, tuple[str, QueueStats]] = {}

    def choose(self, serving: Serving, children: Mapping[Id, Child]) -> dict[str, float]:
        """Service times in seconds by the name of the queue's ConfigMap: the one in force, until it is far off."""
        owner = Owner(serving.namespace, serving.name)
        chosen = {}
        for workload in serving.workloads:
            child = children.get(Id("ConfigMap", build_queue_map_name(workload)))
            if child is None or not workload.limits.depth_derived:
                continue
            annotations = child.content["metadata"].get("annotations", {})
            now_s = _parse(annotations.get(SERVICE_TIME_ANNOTATION, ""))
            measured_s = self._service_s.get((owner, str(workload.role)), 0.0)
            service_s = measured_s if abs(measured_s - now_s) > _CHANGE * now_s and measured_s else now_s
            if service_s:
                chosen[build_queue_map_name(workload)] = service_s
        return chosen

    async def run(self, find: Callable[[], Iterable[tuple[Owner, str, str, str]]]) -> None:
        """Measure until cancelled. `find` tells of owner, component, and the uid and address of a ready instance."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT, connector=aiohttp.TCPConnector(force_close=True)) as session:
            while True:
                found = list(find())
                there = {(owner, role) for owner, role, _, _ in found}
                # What has no instance may come back as another model; the annotation keeps what was in force.
                self._seen = {key: seen for key, seen in self._seen.items() if key in there}
                self._service_s = {key: time_s for key, time_s in self._service_s.items() if key in there}
                # Spread over the period: a thousand deployments are a steady trickle.
                for each in found:
                    await self._measure(session, *each)
                    await asyncio.sleep(self._period_s / (len(found) + 1))
                await asyncio.sleep(self._period_s / (len(found) + 1))

    async def _measure(self, session: aiohttp.ClientSession, owner: Owner, role: str, uid: str, address: str) -> None:
        url = f"http://{bracket(address)}:{self._port}/stats/prometheus"
        try:
            async with session.get(url, params={"filter": STATS_FILTER}) as response:
                stats = parse_queue_stats(await response.text())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            _log.debug("%s/%s %s: no stats: %s", *owner, role, error or type(error).__name__)
            return
        key = (owner, role)
        before_uid, before = self._seen.get(key, ("", QueueStats()))
        if before_uid != uid or stats.service_count < before.service_count:
            before = QueueStats()
        answered = stats.service_count - before.service_count
        if before_uid == uid and answered < _FEWEST:
            return  # too few to tell: they count next time
        self._seen[key] = (uid, stats)
        if answered >= _FEWEST:
            newest_s = (stats.service_sum_s - before.service_sum_s) / answered
            known_s = self._service_s.get(key, newest_s)
            self._service_s[key] = known_s + (newest_s - known_s) * _SMOOTHING
            self._wake(owner)


def _parse(text: str) -> float:
    """Seconds of the annotation; 0 where there is none that can be read."""
    try:
        return max(0.0, float(text.removesuffix("s")))
    except ValueError:
        return 0.0
