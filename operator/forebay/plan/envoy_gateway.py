"""The gateway: one Envoy in front of all ModelDeployments.

In local mode its config is fixed. In a cluster it starts with a bootstrap, and the pilot sends it all the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    build_internal_listeners,
    build_virtual_host,
)
from forebay.plan.envoy_access import METADATA, build_access_filters, build_forgery_guard
from forebay.plan.envoy_capture import ANSWERS, build_answer_log, build_capture_filter
from forebay.plan.envoy_counts import LOCAL_CLUSTER, build_fallback_counter, build_request_log, build_stats_config
from forebay.plan.envoy_drill import build_fault_filter
from forebay.plan.envoy_fallback import PASSED, Fallback, build_passed_cluster, build_passed_listener
from forebay.plan.envoy_hold import build_hold_filter
from forebay.plan.envoy_replies import GATEWAY_REPLIES, build_mappers
from forebay.plan.envoy_revisions import Target
from forebay.plan.envoy_routes import (
    ROUTES,
    Entrance,
    build_any_path_routes,
    build_entrance_routes,
    build_missing_routes,
    build_shared_host,
    pair_entrances,
)
from forebay.plan.envoy_shadow import build_shadow_listener

# The pilot stands on this module, and not on all of the API.
if TYPE_CHECKING:
    from forebay.plan.resolve import Serving

_ALL = "0.0.0.0"  # noqa: S104  (it is what clients connect to)
XDS_SOCKET = "/run/forebay/xds.sock"
ADMIN_SOCKET = "/run/forebay/admin.sock"
GATEWAY_PORT = 8080
READY = Address(_ALL, 8081)
_PILOT = "pilot"
# A connection of its own: what is compared must not delay what Envoy is told.
_COMPARISONS = "comparisons"
_TIMEOUTS = 3
_GRACE_S = 1.0
# With every one of them a file descriptor to the client and at most one to an instance.
_CONNECTIONS = 100_000
_EVICT_S = 6 * 3600
# Not ready until there are routes.
_RDS: Json = {"route_config_name": ROUTES, "config_source": {**FROM_PILOT, "initial_fetch_timeout": "0s"}}


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where the requests of one ModelDeployment go in local mode: the instances of its entry workload."""

    entrance: Entrance
    members: Members
    model: str = ""
    fallback: Fallback | None = None


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
    return Route(entrance=entrance, members=members, model=serving.model_name, fallback=serving.fallback)


def build_gateway(routes: Sequence[Route], *, listen: Address, admin: Address) -> Json:
    """The whole config (bootstrap) of a gateway with fixed routes."""
    entrances = pair_fallbacks(routes)
    built = {each.name: build_entrance_routes(each) for each in entrances}
    known = ", ".join(f"/{name}" for name in built)
    missing = build_missing_routes(f"no ModelDeployment here. Paths: {known}")
    only = build_any_path_routes(entrances[0]) if len(entrances) == 1 else []
    shared = build_shared_host(built, fallback=[*only, *missing])
    hosts = [*(each.host for each in built.values()), shared]
    backed = {each.name: each.fallback.budget_pct for each in entrances if each.fallback}
    guard = {"early_header_mutation_extensions": [build_forgery_guard()]} if backed else {}
    chain = build_connection_manager("gateway", virtual_hosts=hosts, replies=build_mappers(), **guard)
    listeners = [{"name": "gateway", "address": build_address(listen), "filter_chains": [chain]}]
    clusters = [build_workload_cluster(route.entrance.name, route.members) for route in routes]
    extensions = {}
    if backed:
        extensions = {"bootstrap_extensions": [build_internal_listeners()]}
        listeners.append(build_passed_listener(virtual_hosts=hosts))
        clusters += [build_passed_cluster(name, budget_pct, PASSED) for name, budget_pct in backed.items()]
    return {
        "admin": {"address": build_address(admin)},
        **extensions,
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def pair_fallbacks(routes: Sequence[Route]) -> list[Entrance]:
    """The entrances, each with the fallback that it has among these."""
    known = {route.entrance.name: route for route in routes}
    return [_pair(route, known) for route in routes]


def _pair(route: Route, known: Mapping[str, Route]) -> Entrance:
    entrance, fallback = route.entrance, route.fallback
    if fallback is None or fallback.answer:
        return replace(entrance, fallback=fallback)
    other = known.get(names.build_route_name(namespace=entrance.namespace, deployment=fallback.name))
    return pair_entrances(entrance, fallback, other.entrance, models=(route.model, other.model)) if other else entrance


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
        filters=[*build_access_filters(), build_hold_filter(_PILOT), build_fault_filter(), build_capture_filter()],
        rds=_RDS,
        early_header_mutation_extensions=[build_forgery_guard()],
        access_log=[build_request_log(), build_answer_log(ANSWERS, _COMPARISONS)],
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
    passed = build_passed_listener(
        rds=_RDS,
        filters=[build_hold_filter(_PILOT), build_fault_filter(), build_capture_filter()],
        access_log=[
            build_request_log(told=[build_fallback_counter()]),
            build_answer_log(ANSWERS, _COMPARISONS),
        ],
    )
    shadow = build_shadow_listener(log_cluster=_COMPARISONS, rds=_RDS)
    forever = {**FROM_PILOT, "initial_fetch_timeout": "0s"}
    return {
        "node": {"id": "gateway", "cluster": LOCAL_CLUSTER},
        "admin": {"address": {"pipe": {"path": admin}}},
        # Envoy says that it is ready when all of this has come once, however long that takes.
        "dynamic_resources": {"ads_config": _build_ads(), "lds_config": forever, "cds_config": forever},
        "cluster_manager": {"local_cluster_name": LOCAL_CLUSTER},
        "static_resources": {
            "listeners": [{"name": "ready", "address": build_address(ready), "filter_chains": [chain]}, passed, shadow],
            "clusters": [
                build_cluster(_PILOT, Pipe(xds), protocol="http2"),
                build_cluster(_COMPARISONS, Pipe(xds), protocol="http2"),
                build_cluster("admin", Pipe(admin), protocol="http1"),
                build_cluster(LOCAL_CLUSTER, Discovered(), protocol="http1"),
            ],
        },
        "bootstrap_extensions": [build_internal_listeners()],
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
