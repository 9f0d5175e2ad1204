"""What the gateway's Envoy counts of each request, by deployment, whoever answered it, and what else it keeps count of.

Envoy's own counters are per cluster, and know nothing of what the gateway refuses by itself. And a thousand clusters
with all their counters are a lot of memory, so only what is read is kept.
"""

from collections.abc import Sequence

from forebay.plan.envoy import Json, build_any
from forebay.plan.envoy_access import METADATA
from forebay.plan.envoy_fallback import FALLBACK_FOR
from forebay.plan.names import FALLBACK_HEADER

REQUESTS = "forebay.requests"
DURATION = "forebay.duration"
ACTIVE = "upstream_rq_active"
TOTAL = "upstream_rq_total"
UPTIME = "server.uptime"
CONNECTIONS = "http.gateway.downstream_cx_active"
# All pods of the gateway, among which rate limits are divided.
LOCAL_CLUSTER = "gateway"
_BUCKETS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000)


def build_request_log(*, told: Sequence[Json] = ()) -> Json:
    """Counts each request when it is over; in `told`, what else is counted of it."""
    deployment = {"name": "deployment", "value_format": "%ROUTE_NAME%"}
    cluster = {"name": "cluster", "value_format": "%UPSTREAM_CLUSTER_RAW%"}
    answer = [
        {"name": "code", "value_format": "%RESPONSE_CODE%"},
        {"name": "grpc", "value_format": "%GRPC_STATUS_NUMBER%"},
        {"name": "reason", "value_format": "%RESP(X-FOREBAY-REASON):40%"},
    ]
    config = build_any(
        "extensions.access_loggers.stats.v3.Config",
        # Deprecated for `stats_scope`, which xds-protos 1.85 has not yet.
        stat_prefix="forebay",
        counters=[{"stat": {"name": "requests", "tags": [deployment, cluster, *answer]}, "value_fixed": 1}, *told],
        histograms=[
            {
                "stat": {"name": "duration", "tags": [deployment, cluster]},
                "unit": "Milliseconds",
                "value_format": "%DURATION%",
            }
        ],
    )
    return {"name": "envoy.access_loggers.stats", "typed_config": config}


def build_fallback_counter() -> Json:
    """Counts what a fallback was asked for, and by whom."""
    tags = [
        {"name": "deployment", "value_format": f"%METADATA(ROUTE:{METADATA}:{FALLBACK_FOR})%"},
        {"name": "fallback", "value_format": f"%RESP({FALLBACK_HEADER})%"},
        {"name": "code", "value_format": "%RESPONSE_CODE%"},
        {"name": "grpc", "value_format": "%GRPC_STATUS_NUMBER%"},
    ]
    return {"stat": {"name": "fallbacks", "tags": tags}, "value_fixed": 1}


def build_stats_config() -> Json:
    """Which counters there are at all, and the histogram's buckets."""
    kept = [
        {"contains": "forebay."},
        {"suffix": f".{ACTIVE}"},
        {"suffix": f".{TOTAL}"},
        {"prefix": "http.gateway.downstream_"},
        {"prefix": "server."},
        {"prefix": "cluster_manager."},
        {"prefix": "listener_manager."},
        {"prefix": "overload."},
        # By which rate limits are divided: Envoy reads its own counter.
        {"exact": f"cluster.{LOCAL_CLUSTER}.membership_total"},
    ]
    buckets = {"match": {"contains": "forebay."}, "buckets": list(_BUCKETS_MS)}
    return {"stats_matcher": {"inclusion_list": {"patterns": kept}}, "histogram_bucket_settings": [buckets]}
