"""Copies of requests for another revision or another deployment, a shadow, whose answers nobody gets.

Of a share of the requests the router makes a copy as it sends them on. The copies of a deployment go by a cluster of
its own, which lets only so many be in flight and queues none, to a listener of the same Envoy, `shadow`. It takes each
in as a whole, or refuses what is too large or too slow, so that a shadow that doesn't read never slows the client that
is copied; tries one instance, once and for a bounded time; and lets an answer go that becomes too long. The instances
that get copies are a cluster of their own, too, of which little is read at a time: a request that is copied is none of
the shadow's own, so that it wakes nobody, keeps nobody awake, and counts nowhere.

Both answers are told to the pilot, which compares them: as entries of an access log over its socket, from a buffer that
drops what doesn't fit. A pilot that is away or slow loses comparisons, and no request.
"""

from dataclasses import dataclass
from typing import Any

from forebay.plan.envoy import (
    UNLIMITED,
    Discovered,
    InternalListener,
    Json,
    Members,
    build_any,
    build_cluster,
    build_connection_manager,
    build_header,
)
from forebay.plan.envoy_capture import (
    CAPTURE,
    COPIES,
    MAX_ANSWER_BYTES,
    build_answer_log,
    build_copy_capture,
    build_route_capture,
)
from forebay.plan.envoy_fallback import build_rename
from forebay.plan.envoy_replies import GATEWAY_REPLIES, LocalReply, build_mappers
from forebay.plan.envoy_revisions import Target
from forebay.plan.names import COPY_HEADER, DEPLOYMENT_HEADER
from forebay.plan.units import format_envoy_duration

SHADOW = InternalListener("shadow")
# What becomes of a copy.
OUTCOMES = ("agreed", "differed", "failed", "lost", "skipped")
_CLUSTER_SUFFIXES = {"http1": "~shadow", "http2": "~shadow-grpc"}
_COPIED = "~copied~"
# Of a request that is copied. So many times `concurrency` is what copies take of the gateway's memory at most.
MAX_COPY_BYTES = 1024 * 1024
# A client may send its body as slowly as it likes. Its copy has one of few places.
_MOST_UPLOAD_S = 5
TOO_SLOW = LocalReply((), 408, 4, "too-slow", f"the request did not arrive as a whole within {_MOST_UPLOAD_S} s")
_BUFFER = "envoy.filters.http.buffer"
# A hundredth would go by the same digits of the request's random number as the weights do: of two revisions only the
# first would be copied.
_PART = {"denominator": "MILLION"}
_PER_PERCENT = 10_000


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """Who gets copies: `share_pct` of the requests, `concurrency` at once, for as long as `timeout_s` each.

    `model` is what clients call the model of another deployment; empty where it is called as here.
    """

    targets: tuple[Target, ...]
    share_pct: int = 100
    concurrency: int = 16
    timeout_s: float = 30.0
    model: str = ""


def name_shadow_clusters(entrance: str) -> dict[str, str]:
    """The clusters of a deployment's copies, by protocol: a copy has none of its own. No workload is called so."""
    return {protocol: entrance + suffix for protocol, suffix in _CLUSTER_SUFFIXES.items()}


def is_shadow_cluster(cluster: str) -> bool:
    """Whether a cluster leads to nobody but the gateway itself."""
    return cluster.endswith(tuple(_CLUSTER_SUFFIXES.values()))


def build_shadow_cluster(name: str, protocol: str, concurrency: int, members: Members | None = None) -> Json:
    """One for each deployment: the limit is of its copies alone. A copy that would wait is dropped."""
    limit = {
        # Where connections are short a copy waits for one; with a connection and no place it is dropped.
        "max_connections": UNLIMITED,
        "max_pending_requests": concurrency,
        "max_requests": concurrency,
        "max_retries": 0,
    }
    breakers = {"thresholds": [limit]}
    return build_cluster(name, members or Discovered(), protocol=protocol, circuit_breakers=breakers)


def name_copied_cluster(entrance: str, workload: str) -> str:
    """The instances of a workload, by its cluster's name, as the copies of a deployment's requests reach them."""
    return entrance + _COPIED + workload


def find_copied(cluster: str) -> str:
    """The workload's own cluster, where this one is for copies; empty where not."""
    return cluster.partition(_COPIED)[2]


def build_copied_cluster(name: str) -> Json:
    """An answer that is too long is let go before much of it was read."""
    least = {"lb_policy": "LEAST_REQUEST", "per_connection_buffer_limit_bytes": MAX_ANSWER_BYTES}
    return build_cluster(name, Discovered(), protocol="downstream", **least)


def build_shadow_listener(*, log_cluster: str, **fields: Any) -> Json:
    """The listener that copies come to, of the same routes as all others."""
    chain = build_connection_manager(
        SHADOW.name,
        virtual_hosts=[],
        replies=build_mappers([*GATEWAY_REPLIES, TOO_SLOW]),
        filters=[
            {
                "name": _BUFFER,
                "typed_config": build_any("extensions.filters.http.buffer.v3.Buffer", max_request_bytes=MAX_COPY_BYTES),
            },
            build_copy_capture(),
        ],
        access_log=[build_answer_log(COPIES, log_cluster)],
        request_timeout=format_envoy_duration(_MOST_UPLOAD_S),
        **fields,
    )
    return {"name": SHADOW.name, "internal_listener": {}, "filter_chains": [chain]}


def build_copied_routes(route: Json, shadow: Shadow, *, entrance: str) -> list[Json]:
    """The routes of requests that are copied, to stand before the same one that copies none. Of gRPC none is where it
    would name another model than the shadow has.
    """
    clusters = name_shadow_clusters(entrance)
    grpc = {**route, "match": {**route["match"], "grpc": {}}}
    first = grpc if shadow.model else _build_copied_route(grpc, shadow, clusters["http2"], entrance)
    return [first, _build_copied_route(route, shadow, clusters["http1"], entrance)]


def _build_copied_route(route: Json, shadow: Shadow, cluster: str, entrance: str) -> Json:
    part = {"default_value": {"numerator": shadow.share_pct * _PER_PERCENT, **_PART}}
    mirror = {
        "cluster": cluster,
        "disable_shadow_host_suffix_append": True,
        "trace_sampled": False,
        "request_headers_mutations": [
            {"append": build_header(DEPLOYMENT_HEADER, entrance)},
            {"append": build_header(COPY_HEADER, f"%DYNAMIC_METADATA({CAPTURE}:id)%")},
        ],
    }
    return {
        **route,
        "match": {**route["match"], "runtime_fraction": part},
        "route": {**route["route"], "request_mirror_policies": [mirror]},
        "typed_per_filter_config": {**route.get("typed_per_filter_config", {}), **build_route_capture()},
    }


def build_copy_route(match: Json, shadow: Shadow, *, name: str) -> Json:
    """Where the copies go, whatever way the request came. Their path is what the request's became."""
    clusters = {name_copied_cluster(name, each.cluster): each.weight_pct for each in shadow.targets}
    weighted = [{"name": cluster, "weight": weight_pct} for cluster, weight_pct in clusters.items()]
    to = {"cluster": weighted[0]["name"]} if len(weighted) == 1 else {"weighted_clusters": {"clusters": weighted}}
    rename = build_rename(shadow.model) if shadow.model else {}
    return {
        "name": name,
        "match": {**match, "headers": [{"name": COPY_HEADER, "present_match": True}]},
        "route": {
            **to,
            "timeout": format_envoy_duration(shadow.timeout_s),
            **rename,
        },
        "request_headers_to_remove": [COPY_HEADER, DEPLOYMENT_HEADER],
        # What is longer is ended.
        "request_body_buffer_limit": MAX_ANSWER_BYTES,
    }
