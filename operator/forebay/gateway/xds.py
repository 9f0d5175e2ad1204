"""The conversation with one Envoy: what to send it next. State of the world, over one stream (ADS), and no I/O.

A response waits until the one before it was acknowledged. What a NACK refuses is not sent again: Envoy goes on with
what it had. Routes are sent when Envoy has their clusters and members; a cluster goes when no routes name it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any as Content

from google.protobuf.any_pb2 import Any

from forebay.gateway.quarantine import Quarantine
from forebay.gateway.snapshot import EntranceConfig, LimitTable, Members, RouteTable, Snapshot, pack_cluster
from forebay.gateway.typed import CDS, ECDS, EDS, LDS, RDS


@dataclass(frozen=True, kw_only=True)
class Request:
    """What Envoy says: what it subscribes to, and whether it took what it was sent last."""

    kind: str
    names: frozenset[str] = frozenset()
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Response:
    """What to send."""

    kind: str
    version: str
    nonce: str
    resources: tuple[Any, ...] = field(repr=False)


@dataclass
class Subscription:
    """One kind of resource. `acked` is what Envoy has, `sent` what it has or will have, if it doesn't refuse it."""

    subscribed: bool = False
    names: frozenset[str] = frozenset()
    nonce: str = ""
    version: int = 0
    waiting: bool = False
    sent: Content = None
    acked: Content = None
    refused: Content = None

    @property
    def free(self) -> bool:
        """Whether something can be sent."""
        return self.subscribed and not self.waiting


class Conversation:
    """One stream of one Envoy. `had` are clusters that it has from an earlier one, and may have routes to."""

    def __init__(self, had: Iterable[str] = ()) -> None:
        self._had = {name: pack_cluster(name) for name in had}
        self._kinds = {kind: Subscription() for kind in (LDS, ECDS, CDS, EDS, RDS)}
        self._kinds[CDS].acked = {}
        self._members: dict[str, Members] = {}
        self._sent_members: dict[str, Members] = {}
        self._quarantine = Quarantine()
        self.errors: dict[str, str] = {}

    @property
    def routes(self) -> RouteTable | None:
        """The routes that Envoy has."""
        routes: RouteTable | None = self._kinds[RDS].acked
        return routes

    @property
    def members(self) -> Mapping[str, Members]:
        """The members that Envoy has acknowledged, by cluster."""
        return self._members

    @property
    def limits(self) -> LimitTable | None:
        """The rate limits that Envoy has."""
        limits: LimitTable | None = self._kinds[ECDS].acked
        return limits

    def find_entrance(self, route: str) -> EntranceConfig | None:
        """The routes of a deployment that Envoy has."""
        return self.routes.entrances.get(route) if self.routes else None

    def find_error(self, route: str) -> str:
        """Why Envoy doesn't have the routes of a deployment that it was to have."""
        return self._quarantine.find_error(route) or self.errors.get(RDS, "")

    def hear(self, request: Request) -> bool:
        """Take in a request. Says whether it settles what was sent last; one with an older nonce says nothing new."""
        kind = self._kinds.get(request.kind)
        if kind is None or (kind.subscribed and request.nonce != kind.nonce):
            return False
        settled = kind.waiting
        if settled:
            kind.waiting = False
            self._settle(request, kind)
        kind.subscribed = True
        kind.names = request.names
        if request.kind == EDS:
            self._forget_members(kind.names)
        return settled

    def _settle(self, request: Request, kind: Subscription) -> None:
        if request.error:
            self.errors[request.kind] = request.error
            kind.refused, kind.sent = kind.sent, kind.acked
            # Half of the routes would be worse than the old ones of an Envoy that has some.
            if request.kind == RDS and (kind.acked or not self._had):
                others = self._quarantine.refuse(kind.refused, kind.acked, request.error)
                kind.refused = None if others else kind.refused
            return
        self.errors.pop(request.kind, None)
        if request.kind == RDS:
            self._quarantine.accept()
        if request.kind == EDS:
            self._members |= kind.sent
        else:
            kind.acked = kind.sent

    def _forget_members(self, names: frozenset[str]) -> None:
        """Envoy forgets the members of a cluster that it no longer asks for."""
        for known in (self._members, self._sent_members):
            for name in known.keys() - names:
                del known[name]

    def speak(self, snapshot: Snapshot) -> Iterator[Response]:
        """What is to be sent now, clusters first."""
        yield from self._send(CDS, self._find_clusters(snapshot), lambda clusters: clusters.values())
        changed = self._find_members(snapshot)
        if changed:
            self._sent_members |= changed
            yield from self._send(EDS, changed, lambda members: (each.packed for each in members.values()))
        yield from self._send(ECDS, snapshot.limits, lambda limits: (limits.packed,))
        yield from self._send(LDS, snapshot.listener, lambda listener: (listener,))
        routes = self._quarantine.choose(snapshot.routes, self.routes)
        if self._can_route(routes):
            yield from self._send(RDS, routes, lambda routes: (routes.packed,))

    def _find_clusters(self, snapshot: Snapshot) -> dict[str, Any]:
        """Those that are wanted, and those that routes still name."""
        if self.routes is None:
            return {**self._had, **snapshot.clusters}
        has: dict[str, Any] = self._kinds[CDS].sent or {}
        tables = (self._kinds[RDS].acked, self._kinds[RDS].sent)
        named = frozenset().union(*(table.references for table in tables if table))
        return {**{name: has[name] for name in sorted(named & has.keys())}, **snapshot.clusters}

    def _find_members(self, snapshot: Snapshot) -> dict[str, Members]:
        kind = self._kinds[EDS]
        if not kind.free:
            return {}
        found = ((name, self._sent_members.get(name), snapshot.find_members(name)) for name in sorted(kind.names))
        # Nearly all are the same object: to compare a thousand messages takes its time.
        return {name: members for name, sent, members in found if sent is not members and sent != members}

    def _can_route(self, routes: RouteTable) -> bool:
        return routes.references <= self._kinds[CDS].acked.keys() and routes.references <= self._members.keys()

    def _send(self, name: str, content: Content, unpack: Callable[[Content], Iterable[Any]]) -> Iterator[Response]:
        kind = self._kinds[name]
        known = kind.version and content in (kind.sent, kind.refused)
        # Of members only what has changed is here.
        if not kind.free or (known and name != EDS):
            return
        if name == CDS:
            self._expect_questions(content)
        kind.version += 1
        kind.nonce = str(kind.version)
        kind.waiting = True
        kind.sent = content
        yield Response(kind=name, version=kind.nonce, nonce=kind.nonce, resources=tuple(unpack(content)))

    def _expect_questions(self, clusters: Mapping[str, Any]) -> None:
        """A cluster that is new or replaced waits for its members, also when they were sent before it."""
        before: Mapping[str, Any] = self._kinds[CDS].sent or {}
        for name, cluster in clusters.items():
            if before.get(name) != cluster:
                self._sent_members.pop(name, None)
