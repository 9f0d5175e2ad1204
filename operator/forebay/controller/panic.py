"""Looks every second which ModelDeployments have more to do than they can, and has their floors raised.

The gateway knows who is busy at all. Only where that is too much for some workload are its sidecars asked, so that a
thousand idle ModelDeployments cost one question a second. What is decided is written by the next look at each.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import aiohttp

from forebay.controller.world import World
from forebay.kube.children import Child, Id
from forebay.kube.gateways import Gateways
from forebay.kube.holdings import Owner
from forebay.observation import Reason
from forebay.plan.names import WORKLOAD_LABEL
from forebay.plan.resolve import Scaling
from forebay.plan.workloads import Planned, Revision
from forebay.scaling.floors import read_floor
from forebay.scaling.panic import Fleet, Floor, Sample, decide, is_hot, spare
from forebay.sidecars import Sidecars
from forebay.status.pods import find_condition, is_live, is_ready
from forebay.status.scheduling import check_scheduling

Json = dict[str, Any]
Key = tuple[Owner, str]

_log = logging.getLogger(__name__)
_PERIOD_S = 1.0
_GATEWAY = aiohttp.ClientTimeout(total=0.5)
_KEPT = 4
# What ends is looked at when it has ended for sure.
_AFTER_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Floors:
    """The floors of a ModelDeployment's workloads, by name: for load, and for instances that wait for a GPU."""

    raised: Mapping[str, Floor]
    spared: Mapping[str, Floor]

    @property
    def until_s(self) -> float:
        """When the first of them ends."""
        return min((each.until_s for each in (*self.raised.values(), *self.spared.values())), default=float("inf"))


class Panic:
    """The floors of all workloads, and what they are decided from."""

    def __init__(
        self,
        world: World,
        gateways: Gateways,
        sidecars: Sidecars,
        *,
        wake: Callable[[Owner], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._world = world
        self._gateways = gateways
        self._sidecars = sidecars
        self._wake = wake
        self._clock = clock
        self._followed: dict[Owner, dict[str, Scaling]] = {}
        # The workloads for which requests are held, by whose these are.
        self._entries: dict[Owner, str] = {}
        self._floors: dict[Key, Floor] = {}
        self._chosen: dict[Owner, Floors] = {}
        self._samples: defaultdict[Key, deque[Sample]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def choose(self, owner: Owner, target: Revision, *, is_held: bool, beside: Iterable[Planned] = ()) -> Floors:
        """The floors of the target's workloads now, and of those that serve `beside` it. From here on their load is
        looked at: where requests are held for the target they are load, too, which its instances don't know of.
        """
        self._entries.pop(owner, None)
        if is_held:
            self._entries[owner] = target.entry.name
        now_s, children = self._clock(), self._world.children.of(owner)
        scalings = {each.name: each.workload.scaling for each in (*beside, *target.workloads)}
        scaled = {name: each for name, each in scalings.items() if each.automatic}
        for name in self._followed.get(owner, {}).keys() - scaled.keys():
            self._floors.pop((owner, name), None)
        self._followed[owner] = {name: scaling for name, scaling in scaled.items() if scaling.may_panic}
        raised, spared = {}, {}
        pods = self._world.pods.of(owner) if scaled else []
        for name, scaling in scaled.items():
            fleet = _count(children, name, scaling)
            if fleet is not None and fleet.wanted < 1:
                # Whoever wakes it begins with one.
                self._floors.pop((owner, name), None)
            if fleet is None or fleet.wanted < 1 or self._is_anothers(owner, name):
                continue
            if floor := self._find_floor(owner, name, children, now_s):
                raised[name] = replace(floor, instances=min(floor.instances, fleet.most))
            created = [each["metadata"]["creationTimestamp"] for each in pods if _waits(each, name)]
            since_s = [datetime.fromisoformat(each).timestamp() for each in created]
            if waiting := spare(since_s, fleet, now_s=now_s):
                spared[name] = waiting
        self._chosen[owner] = Floors(raised=raised, spared=spared)
        return self._chosen[owner]

    def floors_of(self, owner: Owner) -> Floors:
        """What was chosen last."""
        return self._chosen.get(owner, Floors(raised={}, spared={}))

    def delay_s(self, owner: Owner) -> float:
        """Until the first of its floors ends."""
        return max(0.0, self.floors_of(owner).until_s - self._clock()) + _AFTER_S

    def forget(self, owner: Owner) -> None:
        """It is gone."""
        self._chosen.pop(owner, None)
        self._entries.pop(owner, None)
        for name in self._followed.pop(owner, {}):
            self._floors.pop((owner, name), None)
            self._samples.pop((owner, name), None)

    async def run(self) -> None:
        """Look until cancelled."""
        async with aiohttp.ClientSession(timeout=_GATEWAY) as session:
            while True:
                began_s = time.monotonic()
                await self._look(session)
                await asyncio.sleep(max(0.1, _PERIOD_S - (time.monotonic() - began_s)))

    async def _look(self, session: aiohttp.ClientSession) -> None:
        load = await self._gateways.count_load(session)
        hot = [key for owner, requests in load.items() for key in self._find_hot(owner, requests)]
        for key in self._samples.keys() - set(hot):
            del self._samples[key]
        addresses = {key: self._find_addresses(*key) for key in hot}
        answers = await self._sidecars.ask({each for found in addresses.values() for each in found})
        now_s = self._clock()
        for key, found in addresses.items():
            told = [answers[each].load for each in found if each in answers]
            if self._entries.get(key[0]) == key[1]:
                told = [max(sum(told), load[key[0]])]
            if told:
                self._samples[key].append(Sample(at_s=now_s, requests=sum(told)))
                self._decide(key, now_s)

    def _find_hot(self, owner: Owner, requests: int) -> Iterable[Key]:
        """The workloads for which so many requests to the whole may be too much."""
        followed = self._followed.get(owner, {})
        # The fewest instances are one: most are told by that.
        if not any(requests >= scaling.queue for scaling in followed.values()):
            return
        children = self._world.children.of(owner)
        for name, scaling in followed.items():
            fleet = _count(children, name, scaling)
            if fleet and is_hot(requests, fleet, self._find_floor(owner, name, children, self._clock())):
                yield owner, name

    def _find_addresses(self, owner: Owner, name: str) -> list[str]:
        pods = self._world.pods.of(owner)
        return [
            each["status"]["podIP"] for each in pods if _is_of(each, name) and is_ready(each) and _has_address(each)
        ]

    def _decide(self, key: Key, now_s: float) -> None:
        owner, name = key
        children, scaling = self._world.children.of(owner), self._followed.get(owner, {}).get(name)
        fleet = _count(children, name, scaling) if scaling else None
        if fleet is None or self._is_anothers(owner, name):
            return
        before = self._find_floor(owner, name, children, now_s)
        floor = decide(self._samples[key], fleet, before, now_s=now_s)
        if floor and floor != before:
            self._floors[key] = floor
            if before is None or floor.instances > before.instances:
                _log.info("%s/%s: %s: %s", *owner, name, floor.reason)
            self._wake(owner)

    def _is_anothers(self, owner: Owner, name: str) -> bool:
        """Whether it isn't our autoscaler alone that has the pods: then they are another's, KEDA's, or nobody's."""
        autoscaler = _find_autoscaler(self._world.children.of(owner), name)
        if not autoscaler["metadata"]:
            return True
        is_disputed = find_condition(autoscaler, "ScalingActive").get("reason") == "AmbiguousSelector"
        return is_disputed or bool(self._world.rivals.find(owner.namespace, name))

    def _find_floor(self, owner: Owner, name: str, children: Mapping[Id, Child], now_s: float) -> Floor | None:
        """What was decided last: by this operator, or else by the one before, as the autoscaler's annotation says."""
        floor = self._floors.get((owner, name))
        if floor is None:
            floor = read_floor(_find_autoscaler(children, name))
        if floor and floor.until_s > now_s:
            self._floors[owner, name] = floor
            return floor
        self._floors.pop((owner, name), None)
        return None


def _find_autoscaler(children: Mapping[Id, Child], name: str) -> Json:
    child = children.get(Id("HorizontalPodAutoscaler", name))
    return child.content if child else {"metadata": {}}


def _count(children: Mapping[Id, Child], name: str, scaling: Scaling) -> Fleet | None:
    child = children.get(Id("Deployment", name))
    if child is None:
        return None
    deployment, autoscaler = child.content, _find_autoscaler(children, name)
    return Fleet(
        wanted=deployment["spec"].get("replicas", 1),
        ready=deployment.get("status", {}).get("readyReplicas", 0),
        # What exceeds its own maximum the autoscaler takes back.
        most=min(scaling.most, autoscaler.get("spec", {}).get("maxReplicas", scaling.most)),
        target=scaling.queue or 1.0,
    )


def _is_of(pod: Json, workload: str) -> bool:
    return bool(pod["metadata"].get("labels", {}).get(WORKLOAD_LABEL) == workload)


def _has_address(pod: Json) -> bool:
    return bool(pod["status"].get("podIP"))


def _waits(pod: Json, workload: str) -> bool:
    """Whether a pod of the workload waits for a GPU."""
    trouble = check_scheduling(pod) if _is_of(pod, workload) and is_live(pod) else None
    return trouble is not None and trouble.reason is Reason.WAITING_FOR_GPU
