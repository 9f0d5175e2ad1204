"""Pieces of Envoy config that the queue and the gateway share, as data structures that become JSON.

Source of every field: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/api
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.plan.names import RETRY_HEADER

Json = dict[str, Any]

UNLIMITED = 1_000_000
# Bodies are held back until they are whole, so that a slow upload takes no slot, and kept for a retry.
MAX_BODY_BYTES = 64 * 1024 * 1024
_MOST_RETRIES = 2
_TYPE = "type.googleapis.com/envoy."
# Where config comes from in a cluster: the pilot's one stream.
FROM_PILOT: Json = {"ads": {}, "resource_api_version": "V3"}


@dataclass(frozen=True)
class Address:
    """Where something listens."""

    host: str
    port: int


@dataclass(frozen=True)
class EndpointFile:
    """A cluster's members in a file that Envoy watches: local mode's EDS."""

    path: str


@dataclass(frozen=True)
class DnsName:
    """A cluster's members behind a name that resolves to all of them: a headless Service."""

    host: str
    port: int


@dataclass(frozen=True)
class InternalListener:
    """A listener of the same Envoy, reached without the network."""

    name: str


@dataclass(frozen=True)
class Pipe:
    """A unix socket of the same pod."""

    path: str


@dataclass(frozen=True)
class Discovered:
    """A cluster's members as the pilot tells them (EDS over ADS)."""


Member = Address | DnsName | InternalListener | Pipe
Members = Member | EndpointFile | Discovered


@dataclass(frozen=True)
class Upstream:
    """Instances to send requests to, and how many there are when all is well."""

    members: Members
    instances: int


def build_any(kind: str, **fields: Any) -> Json:
    """A typed extension config."""
    return {"@type": _TYPE + kind, **fields}


def build_address(address: Address) -> Json:
    """A socket address."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def build_protocol(*, kind: str) -> Json:
    """Upstream protocol of a cluster: "http1", "http2", or "downstream", the one that the client spoke."""
    # gRPC ends in trailers, and passes the queue's inner hop over HTTP/1.1.
    http1 = {"enable_trailers": True}
    configs: dict[str, Json] = {
        "http1": {"explicit_http_config": {"http_protocol_options": http1}},
        "http2": {"explicit_http_config": {"http2_protocol_options": {}}},
        "downstream": {
            "use_downstream_protocol_config": {"http_protocol_options": http1, "http2_protocol_options": {}}
        },
    }
    name = "extensions.upstreams.http.v3.HttpProtocolOptions"
    # Triton, told to stop, waits for every open connection to close.
    common = {"common_http_protocol_options": {"idle_timeout": "1s"}} if kind == "http1" else {}
    return {f"envoy.{name}": build_any(name, **configs[kind], **common)}


def build_limits(*, connections: int = UNLIMITED, pending: int = UNLIMITED) -> Json:
    """Circuit breakers: every limit is stated, since Envoy's own defaults (1,024, and 3 retries) are no one's wish."""
    threshold = {
        "max_connections": connections,
        "max_pending_requests": pending,
        "max_requests": UNLIMITED,
        "max_retries": UNLIMITED,
    }
    return {"thresholds": [threshold]}


def build_cluster(name: str, members: Members, *, protocol: str, **fields: Any) -> Json:
    """A cluster whose members are one address, a watched file, a DNS name, or told by the pilot."""
    cluster: Json = {
        "name": name,
        "connect_timeout": "1s",
        "typed_extension_protocol_options": build_protocol(kind=protocol),
        "circuit_breakers": build_limits(),
        **fields,
    }
    if isinstance(members, EndpointFile):
        source = {"path_config_source": {"path": members.path}, "resource_api_version": "V3"}
        return {**cluster, "type": "EDS", "eds_cluster_config": {"service_name": name, "eds_config": source}}
    if isinstance(members, Discovered):
        return {**cluster, "type": "EDS", "eds_cluster_config": {"service_name": name, "eds_config": FROM_PILOT}}
    assignment = {"load_assignment": build_assignment(name, [members])}
    if isinstance(members, DnsName):
        # Instances that come and go are noticed within this and the 5 s that CoreDNS keeps an answer.
        config = build_any("extensions.clusters.dns.v3.DnsCluster", dns_refresh_rate="1s")
        return {**cluster, "cluster_type": {"name": "envoy.clusters.dns", "typed_config": config}, **assignment}
    return {**cluster, "type": "STATIC", **assignment}


def build_assignment(cluster: str, members: Iterable[Member]) -> Json:
    """The members of a cluster (ClusterLoadAssignment)."""
    endpoints = [{"endpoint": {"address": _build_member(member)}} for member in members]
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": endpoints}]}


def _build_member(member: Member) -> Json:
    if isinstance(member, Pipe):
        return {"pipe": {"path": member.path}}
    if isinstance(member, InternalListener):
        return {"envoy_internal_address": {"server_listener_name": member.name}}
    return build_address(Address(member.host, member.port))


def build_connection_manager(
    name: str, *, virtual_hosts: Sequence[Json], filters: Sequence[Json] = (), replies: Sequence[Json], **fields: Any
) -> Json:
    """The filter chain of an HTTP listener that takes HTTP/1.1 and HTTP/2 (gRPC) on one port.

    Its routes are those of `virtual_hosts`, or come from the pilot when `rds` is among the fields.
    """
    routes = {} if "rds" in fields else {"route_config": {"name": name, "virtual_hosts": list(virtual_hosts)}}
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": build_any("extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
    }
    manager = build_any(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        codec_type="AUTO",
        http_protocol_options={"enable_trailers": True},
        # An escaped slash or `..` must not reach what the routes don't let through.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        server_header_transformation="PASS_THROUGH",
        stream_idle_timeout="0s",
        http_filters=[*filters, router],
        local_reply_config={"mappers": list(replies)},
        **routes,
        **fields,
    )
    return {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


def build_internal_listeners() -> Json:
    """What Envoy needs to start with, to have internal listeners."""
    config = build_any("extensions.bootstrap.internal_listener.v3.InternalListener")
    return {"name": "envoy.bootstrap.internal_listener", "typed_config": config}


def build_header(name: str, value: str) -> Json:
    """A header to set."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def build_virtual_host(name: str, *, domains: Sequence[str], routes: Sequence[Json]) -> Json:
    """A virtual host whose requests may be tried on several instances."""
    return {
        "name": name,
        "domains": list(domains),
        "request_body_buffer_limit": MAX_BODY_BYTES,
        # Tells an instance that others failed on this request before.
        "include_request_attempt_count": True,
        "response_headers_to_remove": [RETRY_HEADER],
        "routes": list(routes),
    }


def build_retry_policy(instances: int) -> Json:
    """Try another instance when one is full or fails. A prediction changes nothing, so it may be asked for twice."""
    predicate = build_any("extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")
    return {
        "retry_on": "connect-failure,refused-stream,reset,retriable-headers",
        "retriable_headers": [{"name": RETRY_HEADER, "present_match": True}],
        # Where there is no other instance the same one would refuse again.
        "num_retries": max(0, min(instances - 1, _MOST_RETRIES)),
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.010s"},
        "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": predicate}],
        # An instance that fails fast has the fewest requests, so LEAST_REQUEST picks it again and again.
        "host_selection_retry_max_attempts": "32",
    }
