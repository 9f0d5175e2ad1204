"""A drill: the gateway answers as a broken revision would, or has its requests wait first. Its pods know nothing of it.

It is Envoy's filter for faults, which stands before the router, so that no other instance is tried. A request that is
held for one that is asleep passes it by.
"""

from dataclasses import dataclass

from forebay.plan.envoy import Json, build_any
from forebay.plan.units import format_envoy_duration

# What the apiserver fills in, too.
DELAY = "5s"
FAULT_FILTER = "envoy.filters.http.fault"
_TYPE = "extensions.filters.http.fault.v3.HTTPFault"
_STATUS = {"PredictorDown": 503, "Refusing": 429}
_ALL = {"numerator": 100, "denominator": "HUNDRED"}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What the requests of a cluster meet: a `kind` of the API, or a delay."""

    cluster: str
    kind: str
    delay_s: float = 0.0


def build_fault_filter() -> Json:
    """The HTTP filter of the gateway's listeners: only where a route has a fault."""
    return {"name": FAULT_FILTER, "typed_config": build_any(_TYPE), "disabled": True}


def build_route_fault(fault: Fault) -> Json:
    """The filter's config for the routes of a deployment: of its revisions one is broken."""
    if fault.kind in _STATUS:
        met = {"abort": {"http_status": _STATUS[fault.kind], "percentage": _ALL}}
    else:
        met = {"delay": {"fixed_delay": format_envoy_duration(fault.delay_s), "percentage": _ALL}}
    return {FAULT_FILTER: build_any(_TYPE, upstream_cluster=fault.cluster, **met)}
