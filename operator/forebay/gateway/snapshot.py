"""What Envoy is to have at one moment. Made anew for every change, out of parts that are kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from envoy.service.discovery.v3.discovery_pb2 import Resource

from forebay.gateway import typed
from forebay.plan.envoy import Address, build_assignment
from forebay.plan.envoy_access import RateLimit, build_rate_limits
from forebay.plan.envoy_gateway import build_listener, build_workload_cluster
from forebay.plan.envoy_routes import (
    Entrance,
    build_entrance_routes,
    build_missing_routes,
    build_route_head,
    build_shared_host,
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

    count: int


@dataclass(frozen=True, eq=False)
class EntranceConfig:
    """The config of one deployment: pieces that fit together as bytes. Two are equal when they are the same object."""

    entrance: Entrance
    generation: int
    host: bytes = field(repr=False)
    shared: bytes = field(repr=False)
    references: frozenset[str] = frozenset()


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

    def find_members(self, cluster: str) -> Members:
        """The members of a cluster; it may have none."""
        return self.members.get(cluster) or _build_nobody(cluster)


@lru_cache(maxsize=10_000)
def _build_nobody(cluster: str) -> Members:
    return build_members(cluster, ())


def build_members(cluster: str, addresses: Iterable[Address]) -> Members:
    """The members of a cluster."""
    found = list(addresses)
    return Members(typed.pack_assignment(build_assignment(cluster, found)), len(found))


def build_entrance_config(entrance: Entrance, *, generation: int) -> EntranceConfig:
    """The routes of one deployment."""
    routes = build_entrance_routes(entrance)
    shared = build_shared_host({entrance.name: routes}, fallback=build_missing_routes())
    return EntranceConfig(
        entrance=entrance,
        generation=generation,
        host=typed.encode_hosts(typed.encode_host(routes.host)),
        shared=typed.encode_host({"matcher": shared["matcher"]}),
        references=frozenset(target.cluster for target in entrance.targets if target.weight_pct),
    )


def build_route_table(entrances: Mapping[str, EntranceConfig]) -> RouteTable:
    """The routes of all deployments."""
    parts = list(entrances.values())
    shared = build_shared_host({}, fallback=() if parts else build_missing_routes())
    # A message that comes twice is merged, says protobuf: so the parts' trees become one.
    merged = b"".join([typed.encode_host(shared), *(part.shared for part in parts)])
    packed = typed.pack_routes(
        build_route_head(), b"".join([*(part.host for part in parts), typed.encode_hosts(merged)])
    )
    return RouteTable(packed, dict(entrances), frozenset().union(*(part.references for part in parts)))


@lru_cache(maxsize=10_000)
def pack_cluster(name: str, revision: str = "") -> Piece:
    """The cluster of a workload, and the revision that it is the entry of."""
    return Piece(typed.pack_cluster(build_workload_cluster(name, revision=revision)))


def build_limit_table(limits: Mapping[str, RateLimit], *, gateways: int = 1) -> LimitTable:
    """The limits of all deployments, for so many pods of the gateway."""
    packed = typed.pack_extension(build_rate_limits(limits, gateways=gateways))
    return LimitTable(packed, dict(limits), gateways)


def pack_listener(port: int) -> Piece:
    """The gateway's listener."""
    return Piece(typed.pack_listener(build_listener(port)))
