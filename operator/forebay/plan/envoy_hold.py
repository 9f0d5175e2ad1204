"""Requests to a ModelDeployment that has no instances wait in Envoy, body and all, until the pilot lets them go.

Envoy asks the pilot by its filter for external authorization, which is off but for routes on hold. It stands after API
keys and rate limits: whoever may not call wakes nobody. The pilot's answer names the cluster, which may be another than
when the request came.

A pilot that dies and is back within seconds is asked again, and the requests wait on, each for what is left of its
time; where it stays away they are refused with 503 after some 13 s. A pod of the gateway that ends refuses those that
it still holds when its drain is over, with 503 and Retry-After. An Envoy that dies takes them with it, as it does all
others.
"""

from forebay.plan.envoy import Json, build_any
from forebay.plan.names import HELD_FOR_HEADER

HOLD_FILTER = "envoy.filters.http.ext_authz"
# What the pilot is told of a request: whose it is.
HELD_ROUTE = "route"
# With this status Envoy refuses when the pilot doesn't answer; the pilot never says it.
UNANSWERED_STATUS = 502
# A thousand bodies in full would be more than Envoy has memory. The client is kept waiting with the rest of a longer
# one, which is then tried on one instance only.
_HELD_BYTES = 1024 * 1024
_TYPE = "extensions.filters.http.ext_authz.v3.ExtAuthz"
# The pilot ends each hold itself, long before this.
_LIMIT = "7200s"
# A pilot that died is there again within seconds, and asked again: after pauses that double, 13 s in all on average.
# Envoy takes the longest pause for the limit of each try, too.
_RETRIES = 8
_BACKOFF = {"base_interval": "0.1s", "max_interval": _LIMIT}


def build_hold_filter(pilot: str) -> Json:
    """The HTTP filter of the gateway's listener. `pilot` is its cluster."""
    retries = {"num_retries": _RETRIES, "retry_on": "connect-failure,reset,refused-stream", "retry_back_off": _BACKOFF}
    config = build_any(
        _TYPE,
        transport_api_version="V3",
        grpc_service={"envoy_grpc": {"cluster_name": pilot}, "timeout": _LIMIT, "retry_policy": retries},
        # Neither the body nor more of the headers leaves Envoy.
        allowed_headers={"patterns": [{"exact": "content-type"}]},
        status_on_error={"code": UNANSWERED_STATUS},
        # So the answer's header chooses the cluster.
        clear_route_cache=True,
    )
    return {"name": HOLD_FILTER, "typed_config": config, "disabled": True}


def build_route_hold(name: str) -> Json:
    """The filter's config for the routes of one deployment on hold."""
    settings = {"context_extensions": {HELD_ROUTE: name}}
    return {HOLD_FILTER: build_any(f"{_TYPE}PerRoute", check_settings=settings)}


def build_no_hold() -> Json:
    """The filter's config for a route that isn't on hold, where the others of its deployment are."""
    return {HOLD_FILTER: build_any(f"{_TYPE}PerRoute", disabled=True)}


def build_held_route(match: Json, action: Json) -> Json:
    """A route on hold: the pilot says which cluster its requests go to."""
    return {
        "match": match,
        "route": {"cluster_header": HELD_FOR_HEADER, **action},
        "request_headers_to_remove": [HELD_FOR_HEADER],
        "request_body_buffer_limit": _HELD_BYTES,
    }
