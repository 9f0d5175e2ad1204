"""The gateway: one Envoy in front of all ModelDeployments.

In local mode its config is fixed. In a cluster it starts with a bootstrap, and the pilot sends it all the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forebay.plan import names
from forebay.plan.envoy import (
    FROM_PILOT,
    Address,
    Discovered,
    Json,
    Members,
    Pipe,
    build_address,
    build_any,
    build_cluster,
    build_connection_manager,
    build_virtual_host,
)
from forebay.plan.envoy_access import METADATA, build_access_filters, build_forgery_guard
from forebay.plan.envoy_counts import LOCAL_CLUSTER, build_request_log, build_stats_config
from forebay.plan.envoy_replies import GATEWAY_REPLIES, build_mappers
from forebay.plan.envoy_routes import (
    ROUTES,
    Entrance,
    Target,
    build_any_path_routes,
    build_entrance_routes,
    build_missing_routes,
    build_shared_host,
)

# The pilot stands on this module, and not on all of the API.
if TYPE_CHECKING:
    from forebay.plan.resolve import Serving

_ALL = "0.0.0.0"  # noqa: S104  (it is what clients connect to)
XDS_SOCKET = "/run/forebay/xds.sock"
ADMIN_SOCKET = "/run/forebay/admin.sock"
GATEWAY_PORT = 8080
READY = Address(_ALL, 8081)
_PILOT = "pilot"
_TIMEOUTS = 3
_GRACE_S = 1.0
# With every one of them a file descriptor to the client and at most one to an instance.
_CONNECTIONS = 100_000
_EVICT_S = 6 * 3600


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where the requests of one ModelDeployment go in local mode: the instances of its entry workload."""

    entrance: Entrance
    members: Members


def derive_timeout_s(queue_timeout_s: float) -> float:
    """How long an instance may be silent. The queue answers first, tries on other instances included."""
    return queue_timeout_s * _TIMEOUTS + _GRACE_S


def build_route(serving: "Serving", members: Members) -> Route:
    """The route to a ModelDeployment's entry workload."""
    name = names.build_route_name(namespace=serving.namespace, deployment=serving.name)
    entrance = Entrance(
        namespace=serving.namespace,
        deployment=serving.name,
        timeout_s=derive_timeout_s(serving.entry.limits.timeout_s),
        targets=(Target(cluster=name),),
        instances=serving.entry.replicas,
    )
    return Route(entrance=entrance, members=members)


def build_gateway(routes: Sequence[Route], *, listen: Address, admin: Address) -> Json:
    """The whole config (bootstrap) of a gateway with fixed routes."""
    built = {route.entrance.name: build_entrance_routes(route.entrance) for route in routes}
    known = ", ".join(f"/{name}" for name in built)
    missing = build_missing_routes(f"no ModelDeployment here. Paths: {known}")
    only = build_any_path_routes(routes[0].entrance) if len(routes) == 1 else []
    shared = build_shared_host(built, fallback=[*only, *missing])
    chain = build_connection_manager(
        "gateway", virtual_hosts=[*(each.host for each in built.values()), shared], replies=build_mappers()
    )
    return {
        "admin": {"address": build_address(admin)},
        "static_resources": {
            "listeners": [{"name": "gateway", "address": build_address(listen), "filter_chains": [chain]}],
            "clusters": [build_workload_cluster(route.entrance.name, route.members) for route in routes],
        },
    }


def build_workload_cluster(name: str, members: Members | None = None, *, revision: str = "") -> Json:
    """The instances of an entry workload; in a cluster the pilot tells who they are."""
    told = {"metadata": {"filter_metadata": {METADATA: {"revision": revision}}}} if revision else {}
    return build_cluster(name, members or Discovered(), protocol="downstream", lb_policy="LEAST_REQUEST", **told)


def build_listener(port: int = GATEWAY_PORT) -> Json:
    """The listener of a gateway in a cluster (LDS)."""
    chain = build_connection_manager(
        "gateway",
        virtual_hosts=[],
        replies=build_mappers(GATEWAY_REPLIES),
        filters=build_access_filters(),
        # Not ready until there are routes.
        rds={"route_config_name": ROUTES, "config_source": {**FROM_PILOT, "initial_fetch_timeout": "0s"}},
        early_header_mutation_extensions=[build_forgery_guard()],
        access_log=[build_request_log()],
        use_remote_address=True,
        # Who sends its headers byte by byte is not waited for.
        request_headers_timeout="30s",
    )
    return {"name": "gateway", "address": build_address(Address(_ALL, port)), "filter_chains": [chain]}


def build_bootstrap(*, xds: str = XDS_SOCKET, admin: str = ADMIN_SOCKET, ready: Address = READY) -> Json:
    """What a gateway's Envoy starts with in a cluster: where its pilot is, and a port that says whether it serves."""
    host = build_virtual_host(
        "ready", domains=["*"], routes=[{"match": {"path": "/ready"}, "route": {"cluster": "admin"}}]
    )
    chain = build_connection_manager("ready", virtual_hosts=[host], replies=())
    forever = {**FROM_PILOT, "initial_fetch_timeout": "0s"}
    return {
        "node": {"id": "gateway", "cluster": LOCAL_CLUSTER},
        "admin": {"address": {"pipe": {"path": admin}}},
        # Envoy says that it is ready when all of this has come once, however long that takes.
        "dynamic_resources": {"ads_config": _build_ads(), "lds_config": forever, "cds_config": forever},
        "cluster_manager": {"local_cluster_name": LOCAL_CLUSTER},
        "static_resources": {
            "listeners": [{"name": "ready", "address": build_address(ready), "filter_chains": [chain]}],
            "clusters": [
                build_cluster(_PILOT, Pipe(xds), protocol="http2"),
                build_cluster("admin", Pipe(admin), protocol="http1"),
                build_cluster(LOCAL_CLUSTER, Discovered(), protocol="http1"),
            ],
        },
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "stats_config": build_stats_config(),
        # What was not counted for so long (a revision that is gone) is forgotten.
        "stats_eviction_interval": f"{_EVICT_S}s",
        "overload_manager": _build_overload_manager(),
    }


def _build_ads() -> Json:
    # A pilot that comes back is found again at once.
    backoff = {"base_interval": "0.1s", "max_interval": "1s"}
    pilot = {"envoy_grpc": {"cluster_name": _PILOT, "retry_policy": {"retry_back_off": backoff}}}
    return {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [pilot]}


def _build_overload_manager() -> Json:
    """Rather refuse new requests than be killed for memory with all that are being answered."""
    connections = build_any(
        "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=_CONNECTIONS,
    )
    memory = build_any("extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig")
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {"name": "envoy.resource_monitors.cgroup_memory", "typed_config": memory},
            {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": connections},
        ],
        "actions": [
            _build_action("shrink_heap", 0.85),
            _build_action("disable_http_keepalive", 0.92),
            _build_action("stop_accepting_requests", 0.95),
        ],
    }


def _build_action(name: str, share: float) -> Json:
    trigger = {"name": "envoy.resource_monitors.cgroup_memory", "threshold": {"value": share}}
    return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}
