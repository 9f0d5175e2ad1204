"""Tells of each change in the number of instances why it came, as Events and as a count.

The autoscaler writes the number first, and why in the next moment: so long a change waits to be told.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from forebay.controller.metrics import Metrics
from forebay.controller.panic import Floors
from forebay.controller.world import World
from forebay.kube.children import Id
from forebay.kube.holdings import Owner
from forebay.plan.names import COMPONENT_LABEL
from forebay.status import Event
from forebay.status.scale import Cause, Change, describe_stranger, explain, find_changes, find_sleep, tell, tell_rival

Json = dict[str, Any]
_PATIENCE_S = 3.0
_AGAIN_S = 1.0


class ScaleEvents:
    """The changes that aren't told yet, in their order, and which autoscalers give way to others."""

    def __init__(self, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._waiting: dict[Owner, list[tuple[Change, float]]] = {}
        self._rivals: dict[tuple[Owner, str], str] = {}

    def note(self, owner: Owner, previous: Mapping[str, Any], current: Mapping[str, Any]) -> None:
        """A status follows another."""
        changes = []
        for each in find_changes(previous, current):
            if decider := find_sleep(each, current):
                self._metrics.count_scaling(each.direction, decider)
            else:
                changes.append(each)
        if changes:
            self._waiting.setdefault(owner, []).extend((each, self._clock()) for each in changes)

    def list_waiting(self, owner: Owner) -> set[str]:
        """The workloads with changes that aren't told yet."""
        return {change.workload for change, _ in self._waiting.get(owner, ())}

    def collect(self, owner: Owner, world: World, floors: Floors, autoscalers: Mapping[str, Json]) -> list[Event]:
        """The Events of what is known by now. `autoscalers` are those of the workloads that wait, as they are now."""
        return [*self._tell_rivals(owner, world), *self._tell_changes(owner, world, floors, autoscalers)]

    def delay_s(self, owner: Owner) -> float:
        """Until there may be more to tell."""
        return _AGAIN_S if owner in self._waiting else float("inf")

    def forget(self, owner: Owner) -> None:
        """It is gone."""
        self._waiting.pop(owner, None)
        self._rivals = {key: name for key, name in self._rivals.items() if key[0] != owner}

    def _tell_changes(
        self, owner: Owner, world: World, floors: Floors, autoscalers: Mapping[str, Json]
    ) -> Iterator[Event]:
        waiting = self._waiting.pop(owner, [])
        while waiting:
            change, since_s = waiting[0]
            # What was overtaken by another change is explained by nothing that comes now.
            is_over = self._clock() - since_s >= _PATIENCE_S
            is_over = is_over or any(each.workload == change.workload for each, _ in waiting[1:])
            rival = world.rivals.find(owner.namespace, change.workload)
            cause = _explain(change, autoscalers.get(change.workload), floors, rival)
            if cause is None and is_over:
                cause = describe_stranger(autoscalers.get(change.workload))
            if cause is None:
                self._waiting[owner] = waiting
                return
            waiting.pop(0)
            self._metrics.count_scaling(change.direction, cause.decider)
            yield tell(change, cause)

    def _tell_rivals(self, owner: Owner, world: World) -> Iterator[Event]:
        for kind, name in list(world.children.of(owner)):
            rival = world.rivals.find(owner.namespace, name) if kind == "Deployment" else ""
            known = self._rivals.pop((owner, name), "") if kind == "Deployment" else ""
            if rival:
                self._rivals[owner, name] = rival
            if rival and rival != known:
                child = world.children.of(owner)[Id(kind, name)].content
                yield tell_rival(child["metadata"]["labels"][COMPONENT_LABEL], rival)


def _explain(change: Change, autoscaler: Json | None, floors: Floors, rival: str) -> Cause | None:
    if rival:
        return describe_stranger(autoscaler, rival=rival)
    floor = floors.raised.get(change.workload)
    raised = floor.reason.partition(": ")[2] if floor and floor.instances == change.after else ""
    return explain(change, autoscaler, raised=raised)
