"""The conversation with one Envoy: what to send it next. Only what changed (delta), over one stream (ADS), and no I/O.

A response waits until the one before it was acknowledged. What a NACK refuses is not sent again: Envoy goes on with
what it had. Routes are sent when Envoy has their clusters and members; a cluster goes when no routes name it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from forebay.gateway.quarantine import Quarantine
from forebay.gateway.snapshot import EntranceConfig, LimitTable, Members, Piece, RouteTable, Snapshot
from forebay.gateway.subscription import Subscription
from forebay.gateway.typed import CDS, ECDS, EDS, LDS, RDS

Content = TypeVar("Content", bound=Piece)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What Envoy says: what it wants to hear of, what it has from an earlier stream, and what it says to a response."""

    kind: str
    subscribe: frozenset[str] = frozenset()
    unsubscribe: frozenset[str] = frozenset()
    known: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Response:
    """What to send."""

    kind: str
    nonce: str
    changed: Mapping[str, Piece] = field(repr=False)
    gone: frozenset[str]


class Conversation:
    """One stream of one Envoy."""

    def __init__(self) -> None:
        self._listeners: Subscription[Piece] = Subscription()
        self._limits: Subscription[LimitTable] = Subscription()
        self._clusters: Subscription[Piece] = Subscription()
        self._members: Subscription[Members] = Subscription()
        self._routes: Subscription[RouteTable] = Subscription()
        self._kinds: dict[str, Subscription[Any]] = {
            LDS: self._listeners, ECDS: self._limits, CDS: self._clusters, EDS: self._members, RDS: self._routes,
        }  # fmt: skip
        self._quarantine = Quarantine()
        self.errors: dict[str, str] = {}

    @property
    def routes(self) -> RouteTable | None:
        """The routes that Envoy has."""
        return next(iter(self._routes.acked.values()), None)

    @property
    def members(self) -> Mapping[str, Members]:
        """The members that Envoy has acknowledged, by cluster."""
        return self._members.acked

    @property
    def limits(self) -> LimitTable | None:
        """The rate limits that Envoy has."""
        return next(iter(self._limits.acked.values()), None)

    def find_entrance(self, route: str) -> EntranceConfig | None:
        """The routes of a deployment that Envoy has."""
        return self.routes.entrances.get(route) if self.routes else None

    def find_error(self, route: str) -> str:
        """Why Envoy doesn't have the routes of a deployment that it was to have."""
        return self._quarantine.find_error(route) or self.errors.get(RDS, "")

    def hear(self, request: Request) -> bool:
        """Take in a request. Says whether it settles what was sent last."""
        kind = self._kinds.get(request.kind)
        if kind is None:
            return False
        settled = kind.waiting and request.nonce == kind.nonce
        if settled:
            self._settle(request)
        kind.subscribe(request.subscribe, request.known)
        kind.unsubscribe(request.unsubscribe)
        return settled

    def _settle(self, request: Request) -> None:
        if not request.error:
            self._kinds[request.kind].accept()
            self.errors.pop(request.kind, None)
            if request.kind == RDS:
                self._quarantine.accept()
            return
        self.errors[request.kind] = request.error
        # Half of the routes would be worse than the old ones of an Envoy that has some.
        if request.kind == RDS and (self.routes or not self._routes.known):
            (table,) = self._routes.sent.values()
            if self._quarantine.refuse(table, self.routes, request.error):
                self._routes.withdraw()
                return
        self._kinds[request.kind].refuse()

    def speak(self, snapshot: Snapshot) -> Iterator[Response]:
        """What is to be sent now, clusters first."""
        yield from self._send_clusters(snapshot)
        known, told = self._members, snapshot.members
        dozing = self._find_dozing(snapshot)
        members = {} if known.has_seen(told) else snapshot.list_members(known.names - dozing)
        yield from _send(EDS, known, members, source=None if dozing else told)
        yield from _send(ECDS, self._limits, {snapshot.limits.name: snapshot.limits})
        yield from _send(LDS, self._listeners, {snapshot.listener.name: snapshot.listener})
        self._routes.adopt({snapshot.routes.name: snapshot.routes})
        routes = self._quarantine.choose(snapshot.routes, self.routes)
        if routes.references <= self._clusters.acked.keys() and routes.references <= self._members.acked.keys():
            yield from _send(RDS, self._routes, {routes.name: routes})

    def _find_dozing(self, snapshot: Snapshot) -> set[str]:
        """Clusters that lost their last instance, and whose requests Envoy doesn't hold yet. It is told of the hold
        first: instances that go still answer for a while, and nobody else would.
        """
        if not snapshot.asleep or RDS in self.errors:
            return set()
        next_ = self._quarantine.choose(snapshot.routes, self.routes)
        lost = {name: route for name, route in snapshot.asleep.items() if self._has_members(name)}
        return {name for name, route in lost.items() if _holds(next_, route) and not _holds(self.routes, route)}

    def _has_members(self, cluster: str) -> bool:
        return cluster in self._members.acked and self._members.acked[cluster].count > 0

    def _send_clusters(self, snapshot: Snapshot) -> Iterator[Response]:
        """Those that changed; one that isn't wanted goes when no routes name it, which those before may."""
        strangers = self._clusters.find_strangers(snapshot.clusters)
        gone: frozenset[str] = frozenset()
        if strangers and self.routes is not None:
            tables = (*self._routes.acked.values(), *self._routes.sent.values())
            gone = strangers - frozenset().union(*(table.references for table in tables))
        for response in _send(CDS, self._clusters, snapshot.clusters, gone=gone):
            # A cluster that is new or replaced waits for its members, also when they were sent before it.
            self._members.forget(response.changed)
            yield response


def _holds(table: RouteTable | None, route: str) -> bool:
    return table is not None and route in table.entrances and table.entrances[route].entrance.hold_s > 0


def _send(
    name: str,
    kind: Subscription[Content],
    wanted: Mapping[str, Content],
    *,
    source: Mapping[str, Content] | None = None,
    gone: frozenset[str] = frozenset(),
) -> Iterator[Response]:
    changed = kind.find_changes(wanted, source or wanted)
    # An Envoy that starts waits for its clusters, also for none.
    if kind.free and (changed or gone or (name == CDS and not kind.nonce)):
        yield Response(kind=name, nonce=kind.send(changed, gone), changed=changed, gone=gone)
