"""The gateway: one Envoy in front of all ModelDeployments, by path, by host, and for gRPC by authority or header."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forebay.plan import names
from forebay.plan.envoy import (
    Address,
    Json,
    Members,
    Upstream,
    build_address,
    build_cluster,
    build_connection_manager,
    build_retry_policy,
    build_virtual_host,
)
from forebay.plan.envoy_replies import build_mappers, build_refusal
from forebay.plan.resolve import Serving
from forebay.plan.units import format_envoy_duration

# The queue answers first: this bound is for an instance that hangs, tries on other instances included.
_TIMEOUTS = 3
_GRACE_S = 1.0
# `:path` has the query, too.
_STREAMS = r"[^?]*(/generate_stream|/ModelStreamInfer)([?].*)?"


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where the requests of one ModelDeployment go: the instances of its entry workload."""

    namespace: str
    deployment: str
    timeout_s: float
    upstream: Upstream

    @property
    def name(self) -> str:
        """The route's name, and its cluster's."""
        return names.build_route_name(namespace=self.namespace, deployment=self.deployment)


def build_route(serving: Serving, members: Members) -> Route:
    """The route to a ModelDeployment's entry workload."""
    upstream = Upstream(members, serving.entry.replicas)
    timeout_s = serving.entry.limits.timeout_s * _TIMEOUTS + _GRACE_S
    return Route(namespace=serving.namespace, deployment=serving.name, timeout_s=timeout_s, upstream=upstream)


def build_gateway(routes: Sequence[Route], *, listen: Address, admin: Address) -> Json:
    """The whole config (bootstrap) of a gateway with fixed routes."""
    chain = build_connection_manager(
        "gateway",
        virtual_hosts=[*(_build_host(route) for route in routes), _build_paths(routes)],
        replies=build_mappers(),
    )
    return {
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": build_address(admin)},
        "static_resources": {
            "listeners": [{"name": "gateway", "address": build_address(listen), "filter_chains": [chain]}],
            "clusters": [
                build_cluster(route.name, route.upstream.members, protocol="downstream", lb_policy="LEAST_REQUEST")
                for route in routes
            ],
        },
    }


def _build_host(route: Route) -> Json:
    host = f"{route.deployment}.{route.namespace}"
    domains = [host, f"{host}:*", f"{host}.*"]
    return build_virtual_host(route.name, domains=domains, routes=_build_routes(route, {"prefix": "/"}))


def _build_paths(routes: Sequence[Route]) -> Json:
    """Whatever the host: by header, by path, and, when there is but one, that one."""
    known = ", ".join(f"/{route.name}" for route in routes)
    missing = build_refusal(404, reason="no-such-deployment", message=f"no ModelDeployment here. Paths: {known}")
    by_header = [match for route in routes for match in _build_routes(route, _match_header(route))]
    by_path = [match for route in routes for match in _build_path_routes(route)]
    only = [match for route in routes[:1] if len(routes) == 1 for match in _build_routes(route, {"prefix": "/"})]
    matches = [*by_header, *by_path, *only, {"match": {"prefix": "/"}, **missing}]
    return build_virtual_host("paths", domains=["*"], routes=matches)


def _match_header(route: Route) -> Json:
    header = {"name": names.DEPLOYMENT_HEADER, "string_match": {"exact": route.name}}
    return {"prefix": "/", "headers": [header]}


def _build_path_routes(route: Route) -> list[Json]:
    """`/namespace/name/v2/...` becomes `/v2/...`, so that tritonclient's base path works."""
    rewrite = {"pattern": {"regex": f"^/{route.name}/?(.*)$"}, "substitution": r"/\1"}
    return _build_routes(route, {"path_separated_prefix": f"/{route.name}"}, regex_rewrite=rewrite)


def _build_routes(route: Route, match: Json, **rewrite: Any) -> list[Json]:
    """Two routes: streams may last, everything else is bounded."""
    action = {"cluster": route.name, "retry_policy": build_retry_policy(route.upstream), **rewrite}
    stream = {**action, "timeout": "0s"}
    streams = {"name": ":path", "string_match": {"safe_regex": {"regex": _STREAMS}}}
    headers = match.get("headers", [])
    return [
        {"match": {**match, "headers": [*headers, streams]}, "route": stream},
        {"match": match, "route": {**action, "timeout": format_envoy_duration(route.timeout_s)}},
    ]
