"""Who may call a deployment, and how often, in Envoy's own filters.

API keys are config of each route. Rate limits are not: the buckets would start full again with every change of any
route. They are one filter's config, which the pilot sends on its own (ECDS) and only when a limit changes; a route says
by its metadata whose limit it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forebay.plan.envoy import FROM_PILOT, Json, build_any, build_header
from forebay.plan.names import API_KEY_HEADERS, CLIENT_HEADER, COPY_HEADER, HELD_FOR_HEADER, PASSED_HEADER
from forebay.plan.units import format_envoy_duration

KEYS_FILTER = "envoy.filters.http.api_key_auth"
LIMITS_FILTER = "envoy.filters.http.local_ratelimit"
LIMITS_CONFIG = "rate-limits"
# The part of a route's metadata that is ours.
METADATA = "forebay"
_LIMIT_TYPE = "extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
_KEYS_TYPE = "extensions.filters.http.api_key_auth.v3.ApiKeyAuth"
# Clients that are told apart, at most: whoever was not seen for longest starts again with a full bucket.
_CLIENTS = 100_000
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
# Python's WSGI takes all of these for one header.
_FORGED = (*(f"x{a}forebay{b}client" for a in "-_" for b in "-_"), HELD_FOR_HEADER, PASSED_HEADER, COPY_HEADER)


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """So many requests are let in in the time, all clients together or each."""

    requests: int
    per_s: float
    by_client: bool

    @property
    def retry_after_s(self) -> int:
        """After this many seconds at least one more request is let in."""
        return max(1, math.ceil(self.per_s / self.requests))


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a route asks of its callers. `keys` are the API keys by client; None lets everybody in."""

    keys: Mapping[str, str] | None = field(default=None, repr=False)
    limit: RateLimit | None = None
    # There are to be keys, but none can be read: nobody is let in.
    shut: bool = False


OPEN = Access()


def build_access_filters() -> list[Json]:
    """The HTTP filters of the gateway's listener."""
    keys = build_any(_KEYS_TYPE)
    limits = {
        "config_source": {**FROM_PILOT, "initial_fetch_timeout": "0s"},
        "type_urls": [build_any(_LIMIT_TYPE)["@type"]],
    }
    return [
        # Only where a route has keys.
        {"name": KEYS_FILTER, "typed_config": keys, "disabled": True},
        {"name": LIMITS_CONFIG, "config_discovery": limits},
    ]


def build_forgery_guard() -> Json:
    """Drops what a client sends as its own name, as the cluster that it wants, or as a mark that it was let in, before
    any filter.
    """
    kind = "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    mutations = [{"remove": name} for name in _FORGED]
    name = "envoy.http.early_header_mutation.header_mutation"
    return {"name": name, "typed_config": build_any(kind, mutations=mutations)}


def build_route_access(access: Access) -> Json:
    """The filters' config of a route or virtual host that asks for API keys."""
    if access.keys is None:
        return {}
    config = build_any(
        f"{_KEYS_TYPE}PerRoute",
        credentials=[{"key": key, "client": client} for client, key in sorted(access.keys.items())],
        key_sources=[{"header": header} for header in API_KEY_HEADERS],
        forwarding={"header": CLIENT_HEADER, "hide_credentials": True},
    )
    return {KEYS_FILTER: config}


def build_route_identity(name: str, access: Access) -> Json:
    """By which a request is counted, and by which it is limited: a name is less for Envoy to build than metadata."""
    if access.limit is None:
        return {"name": name}
    told = {"deployment": name, "retry_after": str(access.limit.retry_after_s)}
    return {"name": name, "metadata": {"filter_metadata": {METADATA: told}}}


def build_rate_limits(limits: Mapping[str, RateLimit], *, gateways: int = 1) -> Json:
    """The limits of all deployments, by the deployments' names. They hold for all pods of the gateway together.

    Envoy divides them by the number of pods, and a part of a request is none: `gateways` rounds them up.
    """
    config: dict[str, Any] = {
        "stat_prefix": "gateway",
        "filter_enabled": _ALWAYS,
        "filter_enforced": _ALWAYS,
        "rate_limits": [{"actions": _ACTIONS[:1]}, {"actions": _ACTIONS}],
        "descriptors": [_build_descriptor(name, limit, gateways) for name, limit in sorted(limits.items())],
        "always_consume_default_token_bucket": False,
        "max_dynamic_descriptors": _CLIENTS,
        "rate_limited_as_resource_exhausted": True,
        "local_cluster_rate_limit": {},
        "response_headers_to_add": [build_header("retry-after", f"%METADATA(ROUTE:{METADATA}:retry_after)%")],
    }
    return {"name": LIMITS_CONFIG, "typed_config": build_any(_LIMIT_TYPE, **config)}


# One that is absent leaves no descriptor; with `skip_if_absent` it would leave a shorter one, which would count twice.
_ACTIONS: Sequence[Json] = [
    {
        "metadata": {
            "descriptor_key": "deployment",
            "metadata_key": {"key": METADATA, "path": [{"key": "deployment"}]},
            "source": "ROUTE_ENTRY",
        }
    },
    {"request_headers": {"header_name": CLIENT_HEADER, "descriptor_key": "client"}},
]


def _build_descriptor(name: str, limit: RateLimit, gateways: int) -> Json:
    requests = math.ceil(limit.requests / gateways) * gateways
    # A descriptor with no value has a bucket for each.
    client = [{"key": "client"}] if limit.by_client else []
    bucket = {
        "max_tokens": requests,
        "tokens_per_fill": requests,
        "fill_interval": format_envoy_duration(limit.per_s),
    }
    return {"entries": [{"key": "deployment", "value": name}, *client], "token_bucket": bucket}
