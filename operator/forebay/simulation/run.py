"""A load against the scaling decisions that the operator and Kubernetes make, on a virtual clock.

The decisions are made by the same code as in the cluster (`scaling.panic`), and by a model of Kubernetes' autoscaler
(`scaling.autoscaler`), which a test holds against the real one.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from forebay.plan.autoscale import choose_behavior
from forebay.plan.resolve import Scaling
from forebay.scaling.autoscaler import SYNC_S, Autoscaler, Bounds
from forebay.scaling.panic import Fleet, Floor, Sample, decide, is_hot
from forebay.simulation.doorway import Doorway, Rest
from forebay.simulation.instances import ANSWERED, Instances, Outcome, Shape

_TICK_S = 1.0
_KEPT = 4


@dataclass(frozen=True, kw_only=True)
class Point:
    """How things stand at a time: instances that are wanted and ready, requests at all of them, and those held."""

    at_s: float
    wanted: int
    ready: int
    requests: int
    held: int = 0


@dataclass(frozen=True, kw_only=True)
class Event:
    """A change in the number of instances, and who wanted it."""

    at_s: float
    before: int
    after: int
    decider: str


@dataclass(kw_only=True)
class Result:
    """All that came of it."""

    duration_s: float = 0.0
    instance_s: float = 0.0
    busy_s: float = 0.0
    points: list[Point] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def latencies(self, begin_s: float = 0.0, end_s: float = float("inf")) -> list[float]:
        """Times to the answers of requests that came in a span, sorted."""
        return sorted(
            each.latency_s for each in self.outcomes if each.how == ANSWERED and begin_s <= each.came_s < end_s
        )

    def count_failed(self, begin_s: float = 0.0, end_s: float = float("inf")) -> int:
        """Requests of a span that were refused, or not answered in time."""
        return sum(each.how != ANSWERED and begin_s <= each.came_s < end_s for each in self.outcomes)


class Simulation:
    """One workload under a load. With `rest` it sleeps when nobody needs it."""

    def __init__(
        self, scaling: Scaling, shape: Shape, *, seed: int = 1, panics: bool = True, rest: Rest | None = None
    ) -> None:
        self._scaling = scaling
        self._panics = panics and scaling.may_panic
        behavior = choose_behavior(scaling) if panics else scaling.behavior
        self._autoscaler = Autoscaler(target=scaling.queue, behavior=behavior) if scaling.queue else None
        self._result = Result()
        self._instances = Instances(shape, seed=seed, finish=self._result.outcomes.append)
        self._instances.scale(scaling.least, 0.0, start_s=0.0)
        self._doorway = Doorway(rest, self._instances) if rest else None
        self._floor: Floor | None = None
        self._samples: deque[Sample] = deque(maxlen=_KEPT)

    def run(self, arrivals: Sequence[float], *, duration_s: float) -> Result:
        """Let requests come at these times, in their order; until all are answered, and at least so long."""
        ticks, index = 0, 0
        while True:
            arrival_s = arrivals[index] if index < len(arrivals) else float("inf")
            tick_s, end_s = ticks * _TICK_S, self._instances.next_end_s
            opens_s = self._doorway.next_s if self._doorway else float("inf")
            if tick_s <= min(arrival_s, end_s, opens_s):
                if tick_s > duration_s and arrival_s == end_s == opens_s == float("inf"):
                    break
                self._tick(tick_s)
                ticks += 1
            elif opens_s <= min(arrival_s, end_s):
                self._open(opens_s)
            elif end_s <= arrival_s:
                self._open(self._instances.advance())
            else:
                self._take(arrival_s)
                index += 1
        result, now_s = self._result, (ticks - 1) * _TICK_S
        self._instances.close(now_s)
        result.duration_s, result.instance_s, result.busy_s = now_s, self._instances.held_s, self._instances.busy_s
        return result

    def _take(self, now_s: float) -> None:
        if self._doorway is None:
            self._instances.take(now_s)
        elif self._doorway.take(now_s):
            self._set(now_s, self._scaling.least, "wake")

    def _open(self, now_s: float) -> None:
        if self._doorway:
            self._doorway.open(now_s)

    def _tick(self, now_s: float) -> None:
        """What is looked at every second, and by the autoscaler every fifteen."""
        instances = self._instances
        loads = [each.load for each in instances.list_ready(now_s)]
        if self._panics:
            self._panic(now_s, loads)
        if self._autoscaler and now_s and now_s % SYNC_S == 0:
            least = max(self._scaling.least, self._floor.instances if self._floor else 0)
            bounds = Bounds(least=min(least, self._scaling.most), most=self._scaling.most)
            self._set(now_s, self._autoscaler.look(now_s, instances.wanted, loads, bounds), "autoscaler")
        if self._doorway and self._doorway.is_idle(now_s):
            self._floor = None
            self._set(now_s, 0, "idle")
        held = self._doorway.count() if self._doorway else 0
        ready = len(instances.list_ready(now_s))
        point = Point(at_s=now_s, wanted=instances.wanted, ready=ready, requests=sum(loads), held=held)
        self._result.points.append(point)

    def _panic(self, now_s: float, loads: Sequence[int]) -> None:
        fleet = Fleet(
            wanted=self._instances.wanted, ready=len(loads), most=self._scaling.most, target=self._scaling.queue
        )
        self._floor = self._floor if self._floor and self._floor.until_s > now_s else None
        requests = sum(loads) + (self._doorway.load if self._doorway else 0)
        if not is_hot(requests, fleet, self._floor):
            self._samples.clear()
            return
        self._samples.append(Sample(at_s=now_s, requests=requests))
        self._floor = decide(self._samples, fleet, self._floor, now_s=now_s)
        if self._floor and self._floor.instances > fleet.wanted:
            self._set(now_s, self._floor.instances, "panic")

    def _set(self, now_s: float, wanted: int, decider: str) -> None:
        before = self._instances.wanted
        if wanted != before:
            self._instances.scale(wanted, now_s)
            self._result.events.append(Event(at_s=now_s, before=before, after=wanted, decider=decider))
