"""Requests that wait for instances: first come, first served; bounded in number and time. No I/O, and no clock."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from forebay.gateway.objects import ColdStart
from forebay.plan.envoy_replies import Refusal

# Before this there is hardly room again, or an instance.
_RETRY_S = 5
# So many that left may be kept beside twice the others.
_SPARE = 64
_numbers = count()


@dataclass(frozen=True)
class Pass:
    """The request goes on, to this cluster."""

    cluster: str


Verdict = Pass | Refusal


@dataclass(order=True)
class Ticket:
    """A request that is held, by when it came. `settle` is told what becomes of it."""

    begun_s: float
    settle: Callable[[Verdict], None] = field(compare=False)
    number: int = field(default_factory=lambda: next(_numbers))
    is_gone: bool = field(default=False, compare=False)


class Hold:
    """The held requests of one ModelDeployment, and what holds for them."""

    def __init__(self, cold_start: ColdStart) -> None:
        self.cold_start = cold_start
        # With those that left, until they come to the front or are too many.
        self._heap: list[Ticket] = []
        self._count = 0
        # Since when its instances take requests.
        self.awake_s: float | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, ticket: Ticket) -> None:
        """A request came."""
        heapq.heappush(self._heap, ticket)
        self._count += 1

    def drop(self, ticket: Ticket) -> None:
        """Its client left."""
        if ticket.is_gone:
            return
        ticket.is_gone = True
        self._count -= 1
        if len(self._heap) > 2 * self._count + _SPARE:
            self._heap = [each for each in self._heap if not each.is_gone]
            heapq.heapify(self._heap)

    def pop(self) -> Ticket | None:
        """The one that waits for longest."""
        while self._heap:
            ticket = heapq.heappop(self._heap)
            if not ticket.is_gone:
                self.drop(ticket)
                return ticket
        return None

    def pop_before(self, begun_s: float) -> Iterator[Ticket]:
        """Those that came before that."""
        while self._heap and (self._heap[0].is_gone or self._heap[0].begun_s < begun_s):
            ticket = heapq.heappop(self._heap)
            if not ticket.is_gone:
                self.drop(ticket)
                yield ticket

    def pop_all(self) -> Iterator[Ticket]:
        """All of them, in their order."""
        while (ticket := self.pop()) is not None:
            yield ticket


def build_full(name: str, cold_start: ColdStart) -> Refusal:
    """There is no room for one more."""
    kind, limit = ("rollout", "recreate") if cold_start.is_recreation else ("cold-start", "coldStart")
    held = f"{cold_start.max_held} requests ({limit}.maxHeld)"
    message = f"{name} is starting, and {held} wait for it already: try again later"
    return Refusal(status=503, grpc_status=14, reason=f"{kind}-full", message=message, retry_after_s=_RETRY_S)


def build_late(namespace: str, name: str, cold_start: ColdStart) -> Refusal:
    """No instance was ready in time."""
    kind, limit = ("rollout", "recreate.hold") if cold_start.is_recreation else ("cold-start", "coldStart.timeout")
    message = (
        f"no instance of {name} was ready within {cold_start.timeout_s:g} s ({limit}): "
        f"kubectl describe md {name} -n {namespace} tells why"
    )
    return Refusal(status=503, grpc_status=14, reason=f"{kind}-timeout", message=message, retry_after_s=_RETRY_S)


def build_away() -> Refusal:
    """This pod of the gateway ends before there is an instance."""
    message = "this pod of the gateway ends: ask again"
    return Refusal(status=503, grpc_status=14, reason="pilot-away", message=message, retry_after_s=1)
