"""Lets ModelDeployments fall asleep that nobody has needed for a while, and wakes as a whole what somebody woke.

The gateway wakes by itself, and needs no operator for it. What is asleep stands in the Deployments, and since when in
the status: an operator that begins knows as much as the one before.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from forebay.controller.world import World
from forebay.kube.children import Id
from forebay.kube.client import Client
from forebay.kube.gateways import Gateways
from forebay.kube.holdings import Owner
from forebay.kube.resources import DEPLOYMENT
from forebay.kube.scale import write_scale
from forebay.observation import Reason
from forebay.plan.names import Role, cut_digest
from forebay.plan.resolve import Serving
from forebay.plan.workloads import Revision
from forebay.rollout.state import RolloutState
from forebay.scaling.idle import Size, Vigil, choose_period_s, is_asleep, is_idle, raise_all
from forebay.status.conditions import ASLEEP, READY, find_previous, name_readiness

Json = dict[str, Any]
_log = logging.getLogger(__name__)
_COMPONENTS = tuple(name_readiness(role) for role in Role)


@dataclass(frozen=True, kw_only=True)
class Rousing:
    """Whether what serves sleeps on, and otherwise the workloads that are to have other numbers of instances."""

    asleep: bool = False
    numbers: Mapping[str, int] = field(default_factory=dict)


def rouse(serving: Serving, target: Revision, state: RolloutState, previous: Mapping[str, Any]) -> Rousing:
    """Who sleeps on, and who doesn't: all of a revision is awake as soon as one of its workloads is, and so is what is
    to take over.
    """
    sizes = _measure(target, state)
    was_asleep = find_previous(previous, ASLEEP).get("status") == "True"
    if serving.suspended:
        return Rousing()
    if not serving.idle_s:
        # It may sleep no more; what somebody else stopped stays so.
        return Rousing(numbers=raise_all(sizes, wakes=True) if was_asleep else {})
    own = {name: size for name, size in sizes.items() if name in {each.name for each in target.workloads}}
    served = {name: sizes[name] for name in (state.active.workloads if state.active else ()) if name in sizes}
    is_whole = state.active is not None and len(served) == len(state.active.workloads)
    if state.active is None or state.active.name != target.name:
        numbers = raise_all(own, wakes=False)
        awake = not is_asleep(served.values()) or numbers.keys() & served.keys()
        return Rousing(numbers=numbers | (raise_all(served, wakes=was_asleep) if awake else {}))
    was_stopped = find_previous(previous, READY).get("reason") == Reason.SUSPENDED
    if is_whole and is_asleep(served.values()) and not was_stopped:
        return Rousing(asleep=True)
    return Rousing(numbers=raise_all(own, wakes=was_asleep or was_stopped))


def _measure(target: Revision, state: RolloutState) -> dict[str, Size]:
    """The workloads that there are, of the target and of what serves. Of this nothing is known but what takes its
    place.
    """
    own = {each.name for each in target.workloads}
    scalings = {cut_digest(each.name): each.workload.scaling for each in target.workloads}
    names = [*own, *(state.active.workloads if state.active else ())]
    return {
        name: Size(
            wanted=state.workloads[name].wanted,
            least=scalings[cut_digest(name)].least if cut_digest(name) in scalings else 1,
            fixed=name in own and not scalings[cut_digest(name)].automatic,
        )
        for name in names
        if name in state.workloads
    }


def read_vigil(serving: Serving, status: Mapping[str, Any]) -> Vigil | None:
    """Since when it has been up, if it may fall asleep: what isn't, or is being rolled out, doesn't."""
    ready, asleep = find_previous(status, READY), find_previous(status, ASLEEP)
    is_up = (ready.get("status"), ready.get("reason"), asleep.get("status")) == ("True", Reason.READY, "False")
    if not serving.idle_s or not is_up or status.get("activeRevision") != status.get("targetRevision"):
        return None
    # Ready stays True while what slept starts: since when it is up again its components tell.
    told = [ready, asleep, *(find_previous(status, each) for each in _COMPONENTS)]
    since = [datetime.fromisoformat(each["lastTransitionTime"]).timestamp() for each in told if each]
    return Vigil(since_s=max(since), idle_s=serving.idle_s)


class Sleepers:
    """Those that may fall asleep, and what wakes them as a whole."""

    def __init__(
        self,
        client: Client,
        world: World,
        gateways: Gateways,
        *,
        wake: Callable[[Owner], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._world = world
        self._gateways = gateways
        self._wake = wake
        self._clock = clock
        self._vigils: dict[Owner, Vigil] = {}
        # Those that nobody needed when the gateway was asked last.
        self._due: set[Owner] = set()
        self._begun = asyncio.Event()

    async def raise_all(self, owner: Owner, numbers: Mapping[str, int]) -> None:
        """Give workloads these numbers of instances, unless somebody gives them others meanwhile."""
        for name, after in numbers.items():
            before = self._count(owner, name)
            if before is not None and before != after:
                await write_scale(self._client, owner, name, before=before, after=after)

    async def look(self, owner: Owner, serving: Serving, status: Mapping[str, Any]) -> None:
        """Have it fall asleep, if it is time, and else look from here on whether it is."""
        vigil = read_vigil(serving, status)
        if vigil is None:
            self.forget(owner)
            return
        self._vigils[owner] = vigil
        self._begun.set()
        if owner not in self._due:
            return
        self._due.discard(owner)
        # A request may have come meanwhile, or a pod of the gateway.
        if self._is_idle(owner, vigil, await self._gateways.ask_idle()):
            await self._stop(owner, status["traffic"][0]["workloads"])

    def forget(self, owner: Owner) -> None:
        """It is gone, or can't fall asleep now."""
        self._vigils.pop(owner, None)
        self._due.discard(owner)

    async def run(self) -> None:
        """Ask the gateway until cancelled, while something may fall asleep."""
        while True:
            if not self._vigils:
                self._begun.clear()
                await self._begun.wait()
            await asyncio.sleep(choose_period_s(each.idle_s for each in self._vigils.values()))
            answers = await self._gateways.ask_idle()
            for owner, vigil in self._vigils.items():
                if self._is_idle(owner, vigil, answers):
                    self._due.add(owner)
                    self._wake(owner)

    def _is_idle(self, owner: Owner, vigil: Vigil, answers: list[Mapping[Owner, float] | None]) -> bool:
        ages_s = [answer.get(owner) if answer is not None else None for answer in answers]
        return is_idle(ages_s, vigil, now_s=self._clock())

    async def _stop(self, owner: Owner, workloads: list[str]) -> None:
        """End all instances, those first that call the others."""
        for name in reversed(workloads):
            before = self._count(owner, name)
            # What somebody has just changed is in use.
            if before and not await write_scale(self._client, owner, name, before=before, after=0):
                return
        _log.info("%s/%s: falls asleep", *owner)
        # Who hears of one after the other would take it for half awake, and wake it.
        for name in workloads:
            self._world.children.put(owner, await self._client.read(_path_of(owner, name)))
        self._wake(owner)

    def _count(self, owner: Owner, name: str) -> int | None:
        child = self._world.children.of(owner).get(Id("Deployment", name))
        return int(child.content["spec"].get("replicas", 1)) if child else None


def _path_of(owner: Owner, name: str) -> str:
    return DEPLOYMENT.path(namespace=owner.namespace, name=name)
