"""What Envoy is to have at one moment. Made anew for every change, out of parts that are kept."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from envoy.service.discovery.v3.discovery_pb2 import Resource

from forebay.gateway import typed
from forebay.plan.envoy import Member, build_assignment
from forebay.plan.envoy_access import RateLimit, build_rate_limits
from forebay.plan.envoy_fallback import PASSED, build_passed_cluster, is_passed_cluster, name_passed_cluster
from forebay.plan.envoy_gateway import build_listener, build_workload_cluster
from forebay.plan.envoy_routes import (
    Entrance,
    build_empty_host,
    build_entrance_routes,
    build_missing_routes,
    build_route_head,
    build_shared_part,
    build_shared_stem,
)
from forebay.plan.envoy_shadow import (
    SHADOW,
    build_copied_cluster,
    build_shadow_cluster,
    find_copied,
    is_shadow_cluster,
    name_copied_cluster,
    name_shadow_clusters,
)


@dataclass(frozen=True, eq=False)
class Piece:
    """Something that Envoy is sent as a whole, or not at all."""

    packed: Resource = field(repr=False)

    @property
    def name(self) -> str:
        """What Envoy knows it by."""
        return str(self.packed.name)

    @property
    def version(self) -> str:
        """The digest of its content."""
        return str(self.packed.version)


@dataclass(frozen=True, eq=False)
class Members(Piece):
    """The ready instances of a cluster."""

    addresses: tuple[Member, ...] = field(repr=False)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.addresses)


@dataclass(frozen=True, eq=False)
class EntranceConfig:
    """The config of one deployment: pieces that fit together as bytes. Two are equal when they are the same object."""

    entrance: Entrance
    generation: int
    host: bytes = field(repr=False)
    shared: bytes = field(repr=False)
    references: frozenset[str] = frozenset()
    # When somebody said that its requests are to be held, as told.
    held_since: str = ""


@dataclass(frozen=True, eq=False)
class RouteTable(Piece):
    """All routes, and the clusters that they name."""

    entrances: Mapping[str, EntranceConfig]
    references: frozenset[str]


@dataclass(frozen=True, eq=False)
class LimitTable(Piece):
    """The rate limits of all deployments that have one."""

    limits: Mapping[str, RateLimit]
    gateways: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that Envoy is to have."""

    listener: Piece
    limits: LimitTable
    clusters: Mapping[str, Piece]
    members: Mapping[str, Members]
    routes: RouteTable
    # Clusters that lost their last instance, and whose requests are to be held from now on, with their deployments.
    asleep: Mapping[str, str] = field(default_factory=dict)

    def list_members(self, clusters: Iterable[str]) -> dict[str, Members]:
        """The members of these clusters; one may have none."""
        members = self.members
        return {name: members.get(name) or _find_usual(name, members) for name in clusters}


def _find_usual(cluster: str, members: Mapping[str, Members]) -> Members:
    """The members of a cluster that is no workload's own."""
    copied = members.get(find_copied(cluster))
    return _copy_members(cluster, copied) if copied else _build_usual(cluster)


@lru_cache(maxsize=1_000)
def _copy_members(cluster: str, of: Members) -> Members:
    return build_members(cluster, of.addresses)


@lru_cache(maxsize=10_000)
def _build_usual(cluster: str) -> Members:
    """Nobody; the gateway itself for its own, also for as long as routes lead there that are about to go."""
    if is_passed_cluster(cluster):
        return build_members(cluster, [PASSED])
    return build_members(cluster, [SHADOW] if is_shadow_cluster(cluster) else [])


def build_members(cluster: str, addresses: Iterable[Member]) -> Members:
    """The members of a cluster."""
    found = tuple(addresses)
    return Members(typed.pack_assignment(build_assignment(cluster, found)), found)


def build_entrance_config(entrance: Entrance, *, generation: int, held_since: str = "") -> EntranceConfig:
    """The routes of one deployment."""
    routes = build_entrance_routes(entrance)
    return EntranceConfig(
        entrance=entrance,
        generation=generation,
        host=typed.encode_hosts(typed.encode_host(routes.host)),
        shared=typed.encode_host(build_shared_part({entrance.name: routes})),
        references=frozenset(_list_references(entrance)),
        held_since=held_since,
    )


def _list_references(entrance: Entrance) -> Iterator[str]:
    """The clusters that its routes name: who asks for a revision by its name is sent to one that has no share, too."""
    yield from (target.cluster for target in entrance.targets)
    yield from pack_inner_clusters(entrance)
    if entrance.stand_in:
        yield from _list_references(entrance.stand_in)


def build_route_table(entrances: Mapping[str, EntranceConfig]) -> RouteTable:
    """The routes of all deployments."""
    parts = list(entrances.values())
    missing = build_missing_routes()
    stem = build_shared_stem({}, fallback=missing) if parts else build_empty_host(missing)
    # A message that comes twice is merged, says protobuf: so the parts' trees become one.
    shared = b"".join([typed.encode_host(stem), *(part.shared for part in parts)])
    packed = typed.pack_routes(build_route_head(), [*(part.host for part in parts), typed.encode_hosts(shared)])
    return RouteTable(packed, dict(entrances), frozenset().union(*(part.references for part in parts)))


@lru_cache(maxsize=10_000)
def pack_cluster(name: str, revision: str = "") -> Piece:
    """The cluster of a workload, and the revision that it is the entry of."""
    return Piece(typed.pack_cluster(build_workload_cluster(name, revision=revision)))


def pack_inner_clusters(entrance: Entrance) -> dict[str, Piece]:
    """The clusters that a deployment has beside its workloads' own, by name: for its fallback, and for its shadow."""
    found: dict[str, Piece] = {}
    if entrance.fallback:
        found[name_passed_cluster(entrance.name)] = _pack_passed_cluster(entrance.name, entrance.fallback.budget_pct)
    if shadow := entrance.shadow:
        for protocol, name in name_shadow_clusters(entrance.name).items():
            found[name] = _pack_shadow_cluster(name, protocol, shadow.concurrency)
        for target in shadow.targets:
            name = name_copied_cluster(entrance.name, target.cluster)
            found[name] = _pack_copied_cluster(name)
    return found


@lru_cache(maxsize=10_000)
def _pack_passed_cluster(entrance: str, budget_pct: int) -> Piece:
    return Piece(typed.pack_cluster(build_passed_cluster(entrance, budget_pct)))


@lru_cache(maxsize=10_000)
def _pack_shadow_cluster(name: str, protocol: str, concurrency: int) -> Piece:
    return Piece(typed.pack_cluster(build_shadow_cluster(name, protocol, concurrency)))


@lru_cache(maxsize=10_000)
def _pack_copied_cluster(name: str) -> Piece:
    return Piece(typed.pack_cluster(build_copied_cluster(name)))


def build_limit_table(limits: Mapping[str, RateLimit], *, gateways: int = 1) -> LimitTable:
    """The limits of all deployments, for so many pods of the gateway."""
    packed = typed.pack_extension(build_rate_limits(limits, gateways=gateways))
    return LimitTable(packed, dict(limits), gateways)


def pack_listener(port: int) -> Piece:
    """The gateway's listener."""
    return Piece(typed.pack_listener(build_listener(port)))
