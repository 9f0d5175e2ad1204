"""The sidecar of an instance: the bounded queue in front of its server.

A request passes two HTTP stages in one Envoy: `front` lets through what clients may ask for and holds the queue, which
is the connection pool of the cluster `queue`; `work`, an internal listener behind it, hands REST and gRPC to the
server. So both protocols share one queue and its slots, and the time in `work` alone is the service time.
"""

from dataclasses import dataclass

from forebay.plan import names
from forebay.plan.envoy import (
    MAX_BODY_BYTES,
    Address,
    InternalListener,
    Json,
    Upstream,
    build_address,
    build_any,
    build_cluster,
    build_connection_manager,
    build_internal_listeners,
    build_limits,
    build_retry_policy,
    build_virtual_host,
)
from forebay.plan.envoy_replies import build_mappers, build_refusal
from forebay.plan.resolve import Server
from forebay.plan.units import format_envoy_duration

_CONTROL_TIMEOUT = "5s"
# What Forebay says with these a model server may not: the gateway counts the one and heeds the other.
_OWN_HEADERS = {"response_headers_to_remove": [names.REASON_HEADER, names.RETRY_HEADER]}
_MODEL = "/v2/models/[^/]+(/versions/[^/]+)?"
# What clients may ask for. Triton's repository, shared memory, trace and log endpoints are not here: they are its
# attack surface (CVE-2025-23310, -23316, -23317, -23319, -23320, -23334).
_INFER = (rf"{_MODEL}/(infer|generate)",)
_STREAM = (rf"{_MODEL}/generate_stream",)
_CONTROL = ("/v2/?", "/v2/health/(live|ready)", rf"{_MODEL}(/(ready|config|stats))?")
_SCRIPT_INFER = ("/predict", "/v1/models/[^/:]+:predict")
_SCRIPT_CONTROL = ("/v1/models(/[^/:]+)?", "/docs(/.*)?", "/openapi.json")
_GRPC = "/inference.GRPCInferenceService/"
_GRPC_CONTROL = (
    rf"{_GRPC}(ServerLive|ServerReady|ServerMetadata|ModelReady|ModelMetadata|ModelConfig|ModelStatistics)",
    "/grpc.health.v1.Health/Check",
)

_SCALER = Address("127.0.0.1", names.SCALER_PORT)


@dataclass(frozen=True, kw_only=True)
class QueueAddresses:
    """Where an instance's sidecar and the server behind it listen, and where its predictor is found."""

    front: Address
    metrics: Address
    admin: Address
    model_http: Address
    model_grpc: Address
    model_metrics: Address
    egress: Address
    predictors: tuple[Upstream, ...]
    runtime_dir: str
    # Where the metrics are asked for in place of the server, when the model's instances are scaled.
    scaler: Address = _SCALER


_NOT_SERVED = "this path is not served: see the README for the paths of the Open Inference Protocol that are"


def build_queue(server: Server, addresses: QueueAddresses, *, timeout_s: float, scaled: bool = False) -> Json:
    """The whole config (bootstrap) of one instance's sidecar. A request is answered within `timeout_s`.

    Where the model's instances are `scaled` its slots become fewer while it works, too.
    """
    listeners = [
        _build_listener("front", addresses.front, _build_front(server, format_envoy_duration(timeout_s))),
        {"name": "work", "internal_listener": {}, "filter_chains": [_build_work()]},
        _build_listener("metrics", addresses.metrics, _build_metrics()),
    ]
    listeners += [_build_listener("egress", addresses.egress, _build_egress(each)) for each in addresses.predictors]
    return {
        "admin": {"address": build_address(addresses.admin)},
        # Envoy adds up its times this often, and the depth follows from them.
        "stats_flush_interval": "1s",
        "bootstrap_extensions": [build_internal_listeners()],
        "layered_runtime": {
            "layers": [_build_live_numbers(addresses.runtime_dir), {"name": "admin", "admin_layer": {}}]
        },
        "static_resources": {"listeners": listeners, "clusters": _build_clusters(server, addresses, scaled=scaled)},
    }


def build_runtime(*, slots: int, depth: int) -> dict[str, str]:
    """The numbers that change without a restart: file names and contents under `runtime_dir`."""
    return {names.SLOTS_KEY: str(slots), names.DEPTH_KEY: str(depth)}


def _build_live_numbers(runtime_dir: str) -> Json:
    # `..data` is the symbolic link that a ConfigMap mount swaps.
    return {"name": "live", "disk_layer": {"symlink_root": f"{runtime_dir}/..data", "append_service_cluster": False}}


def _build_listener(name: str, address: Address, chain: Json) -> Json:
    return {"name": name, "address": build_address(address), "filter_chains": [chain]}


def _build_front(server: Server, timeout: str) -> Json:
    scripted = server is not Server.TRITON
    infer = [*_INFER, *(_SCRIPT_INFER if scripted else ())]
    control = [*_CONTROL, *(_SCRIPT_CONTROL if scripted else ())]
    routes = [
        *(_build_route(path, names.QUEUE_CLUSTER, timeout) for path in [*infer, f"{_GRPC}ModelInfer"]),
        *(_build_stream_route(path, timeout) for path in _STREAM),
        _build_unbuffered(_build_stream_route(f"{_GRPC}ModelStreamInfer", timeout)),
        *(_build_control_route(path, names.CONTROL_HTTP_CLUSTER) for path in control),
        *(_build_control_route(path, names.CONTROL_GRPC_CLUSTER) for path in _GRPC_CONTROL),
        {"match": {"prefix": "/"}, **build_refusal(404, reason="path-not-served", message=_NOT_SERVED)},
    ]
    buffer = build_any("extensions.filters.http.buffer.v3.Buffer", max_request_bytes=MAX_BODY_BYTES)
    return build_connection_manager(
        "front",
        virtual_hosts=[{"name": "front", "domains": ["*"], "routes": routes}],
        filters=[{"name": "envoy.filters.http.buffer", "typed_config": buffer}],
        replies=build_mappers(),
    )


def _build_route(path: str, cluster: str, timeout: str) -> Json:
    return {"match": {"safe_regex": {"regex": path}}, "route": {"cluster": cluster, "timeout": timeout}}


def _build_control_route(path: str, cluster: str) -> Json:
    return {**_build_route(path, cluster, _CONTROL_TIMEOUT), **_OWN_HEADERS}


def _build_stream_route(path: str, timeout: str) -> Json:
    """A stream may outlast the timeout, which bounds the silence between its chunks."""
    action = {"cluster": names.QUEUE_CLUSTER, "timeout": "0s", "idle_timeout": timeout}
    return {"match": {"safe_regex": {"regex": path}}, "route": action}


def _build_unbuffered(route: Json) -> Json:
    """Where the requests are a stream, too, they are never whole: they are not held back."""
    unbuffered = build_any("extensions.filters.http.buffer.v3.BufferPerRoute", disabled=True)
    return {**route, "typed_per_filter_config": {"envoy.filters.http.buffer": unbuffered}}


def _build_work() -> Json:
    routes = [
        {"match": {"prefix": "/", "grpc": {}}, "route": {"cluster": names.MODEL_GRPC_CLUSTER, "timeout": "0s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": names.MODEL_HTTP_CLUSTER, "timeout": "0s"}},
    ]
    return build_connection_manager(
        "work",
        virtual_hosts=[{"name": "work", "domains": ["*"], "routes": routes, **_OWN_HEADERS}],
        replies=build_mappers(),
    )


def _build_metrics() -> Json:
    routes = [
        {"match": {"path": "/metrics"}, "route": {"cluster": "model_metrics", "timeout": _CONTROL_TIMEOUT}},
        {"match": {"path": "/stats/prometheus"}, "route": {"cluster": "admin", "timeout": _CONTROL_TIMEOUT}},
    ]
    return build_connection_manager(
        "metrics", virtual_hosts=[{"name": "metrics", "domains": ["*"], "routes": routes}], replies=()
    )


def _build_egress(upstream: Upstream) -> Json:
    """The transformer's way to its predictor, on loopback: a full queue is tried again on another instance."""
    retries = build_retry_policy(upstream.instances)
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": names.PREDICTOR_CLUSTER, "timeout": "0s", "retry_policy": retries},
    }
    host = build_virtual_host("egress", domains=["*"], routes=[route])
    return build_connection_manager("egress", virtual_hosts=[host], replies=build_mappers())


def _build_clusters(server: Server, addresses: QueueAddresses, *, scaled: bool) -> list[Json]:
    queue = build_cluster(names.QUEUE_CLUSTER, InternalListener("work"), protocol="http1")
    if scaled:
        # A slot is a connection: Envoy opens none beyond the limit, but keeps on using those that there are.
        options = queue["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        options["common_http_protocol_options"]["max_connection_duration"] = "0.5s"
    # The live numbers stand over these, so that nobody's pods are started anew for another depth.
    queue["circuit_breakers"] = build_limits(connections=1, pending=1)
    grpc = "http2" if server is not Server.IMAGE else "downstream"
    return [
        queue,
        build_cluster(names.MODEL_HTTP_CLUSTER, addresses.model_http, protocol="http1"),
        build_cluster(names.MODEL_GRPC_CLUSTER, addresses.model_grpc, protocol=grpc),
        build_cluster(names.CONTROL_HTTP_CLUSTER, addresses.model_http, protocol="http1"),
        build_cluster(names.CONTROL_GRPC_CLUSTER, addresses.model_grpc, protocol=grpc),
        build_cluster("model_metrics", addresses.scaler if scaled else addresses.model_metrics, protocol="http1"),
        build_cluster("admin", addresses.admin, protocol="http1"),
        *(
            build_cluster(
                names.PREDICTOR_CLUSTER,
                upstream.members,
                protocol="downstream",
                lb_policy="LEAST_REQUEST",
            )
            for upstream in addresses.predictors
        ),
    ]
