"""Somebody else answers when a deployment can't: a second try of the same request, inside the gateway.

The routes of a deployment that has a fallback lead to a listener of the same Envoy, `passed`, and have the request
tried once more when what comes back is no answer, or when nothing has come for too long: then both are asked, and who
answers first is heard. Behind that listener the first try is the deployment's as without a fallback: its instances one
after the other, its weights, its hold. The second is the fallback's. API keys and rate limits are the entrance's alone,
and what marks a request that has passed it is dropped from all that clients send.

It costs the requests of such a deployment a hop within Envoy; others have nothing of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forebay.plan.envoy import (
    Discovered,
    InternalListener,
    Json,
    Members,
    build_cluster,
    build_connection_manager,
    build_header,
    build_limits,
)
from forebay.plan.envoy_access import METADATA
from forebay.plan.envoy_replies import GATEWAY_REPLIES, LocalReply, build_mappers
from forebay.plan.names import CAUSE_HEADER, DEPLOYMENT_HEADER, FALLBACK_HEADER, PASSED_HEADER, REASON_HEADER
from forebay.plan.units import format_envoy_duration

PASSED = InternalListener("passed")
# In the metadata of a route: whose requests these were.
FALLBACK_FOR = "fallback_for"
_CLUSTER_SUFFIX = "~fallback"
_FIXED = "response"
# Fallbacks that are let in whatever the budget.
_LEAST_BUDGET = 3
_ATTEMPT = "x-envoy-attempt-count"
# Why the gateway or a queue refuses, by cause. That it is suspended, or that a caller may not call, is none.
_REASONS = {
    "Down": ("no-instance", "instance-failed", "not-ready", "cold-start-timeout", "rollout-timeout", "pilot-away"),
    "Refused": ("queue-full", "cold-start-full", "rollout-full"),
    "Slow": ("timeout",),
}
_MODEL_FAILED = "5[0-9][0-9]"
# UNKNOWN, INTERNAL and DATA_LOSS: what the model itself says, and nobody here.
_GRPC_FAILED = "2|13|15"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A fixed answer."""

    status: int
    content_type: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Fallback:
    """When somebody else answers, and who: a fixed `answer`, or else `name`, whose model is called `model`.

    Without `after_s` it is asked when the deployment has answered. `for_grpc`: also for gRPC, where the model's name
    can't be rewritten.
    """

    causes: frozenset[str]
    after_s: float = 0.0
    budget_pct: int = 100
    answer: Answer | None = None
    name: str = ""
    model: str = ""
    for_grpc: bool = False


def name_passed_cluster(entrance: str) -> str:
    """The cluster of the requests that have passed a deployment's entrance. No workload is called so."""
    return entrance + _CLUSTER_SUFFIX


def is_passed_cluster(cluster: str) -> bool:
    """Whether a cluster leads to nobody but the gateway itself."""
    return cluster.endswith(_CLUSTER_SUFFIX)


def build_passed_cluster(entrance: str, budget_pct: int, members: Members | None = None) -> Json:
    """One for each deployment: the budget is of its requests alone."""
    limits = build_limits()
    if budget_pct < 100:
        (threshold,) = limits["thresholds"]
        budget = {"budget_percent": {"value": budget_pct}, "min_retry_concurrency": _LEAST_BUDGET}
        limits = {"thresholds": [{**threshold, "retry_budget": budget}]}
    name = name_passed_cluster(entrance)
    return build_cluster(name, members or Discovered(), protocol="downstream", circuit_breakers=limits)


def build_passed_listener(*, virtual_hosts: Sequence[Json] = (), **fields: Any) -> Json:
    """The listener behind the entrances, of the same routes."""
    replies = _with_causes(GATEWAY_REPLIES)
    chain = build_connection_manager(PASSED.name, virtual_hosts=virtual_hosts, replies=replies, **fields)
    return {"name": PASSED.name, "internal_listener": {}, "filter_chains": [chain]}


def _with_causes(replies: Sequence[LocalReply]) -> list[Json]:
    """What the gateway says is no model's error, whatever its status."""
    names = [reply.reason for reply in replies for _ in ("grpc", "rest")]
    return [
        {**mapper, "headers_to_add": [*mapper["headers_to_add"], build_header(CAUSE_HEADER, name)]}
        for mapper, name in zip(build_mappers(replies), names, strict=True)
    ]


def build_passing_action(entrance: str, fallback: Fallback, *, idle_s: float, **rewrite: Any) -> Json:
    """What the entrance does with a request: pass it, and once more for the fallback."""
    return {
        "cluster": name_passed_cluster(entrance),
        "retry_policy": _build_retry_policy(fallback),
        **({"hedge_policy": {"hedge_on_per_try_timeout": True}} if fallback.after_s else {}),
        "timeout": "0s",
        "idle_timeout": format_envoy_duration(idle_s),
        **rewrite,
    }


def _build_retry_policy(fallback: Fallback) -> Json:
    # One for each: Envoy takes no long expressions.
    reasons = [_REASONS[cause] for cause in sorted(fallback.causes & _REASONS.keys())]
    headers = [_match_any(REASON_HEADER, "|".join(each)) for each in reasons]
    if "Error" in fallback.causes:
        headers += [_match_any(CAUSE_HEADER, _MODEL_FAILED), _match_any("grpc-status", _GRPC_FAILED)]
    return {
        "retry_on": "retriable-headers",
        "retriable_headers": headers,
        "num_retries": 1,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
        # A stream that has begun goes on: this is the time to its first byte.
        **({"per_try_timeout": format_envoy_duration(fallback.after_s)} if fallback.after_s else {}),
    }


def _match_any(header: str, pattern: str) -> Json:
    return {"name": header, "string_match": {"safe_regex": {"regex": pattern}}}


def build_mark(entrance: str) -> list[Json]:
    """The headers of a request that has passed the entrance of a deployment, whatever way it came."""
    return [build_header(PASSED_HEADER, "yes"), build_header(DEPLOYMENT_HEADER, entrance)]


def match_first(match: Json) -> Json:
    """Of requests that have passed: those that the deployment itself is to answer."""
    return {**match, "headers": [_is(PASSED_HEADER, "yes"), _is(_ATTEMPT, "1")]}


def match_second(match: Json) -> Json:
    """Those that the fallback is to answer."""
    return {**match, "headers": [_is(PASSED_HEADER, "yes")]}


def _is(header: str, value: str) -> Json:
    return {"name": header, "string_match": {"exact": value}}


def mark_first(route: Json, fallback: Fallback, *, reason: str = "") -> Json:
    """A route of the deployment itself. With a `reason` it refuses."""
    made = {**route, "response_headers_to_remove": [FALLBACK_HEADER]}
    if "Error" not in fallback.causes:
        return made
    # Where nobody here has a reason it is the model's status.
    cause = reason or f"%RESP({REASON_HEADER}?:status)%"
    return {**made, "response_headers_to_add": [*route.get("response_headers_to_add", ()), _cause(cause)]}


def _cause(value: str) -> Json:
    return build_header(CAUSE_HEADER, value)


def mark_second(route: Json, fallback: Fallback, *, entrance: str) -> Json:
    """A route of the fallback: its answers say so, and it is known for whom."""
    told = {**route.get("metadata", {}).get("filter_metadata", {}).get(METADATA, {}), FALLBACK_FOR: entrance}
    header = build_header(FALLBACK_HEADER, fallback.name or _FIXED)
    return {
        **route,
        "metadata": {"filter_metadata": {METADATA: told}},
        "response_headers_to_add": [*route.get("response_headers_to_add", ()), header],
    }


def build_rename(model: str) -> Json:
    """Other models have other names."""
    pattern = {"regex": "^/(v1|v2)/models/[^/:]+"}
    return {"regex_rewrite": {"pattern": pattern, "substitution": rf"/\1/models/{model}"}}


def build_fixed_route(match: Json, answer: Answer, *, name: str) -> Json:
    """The fixed answer, which is counted as the deployment's."""
    return {
        "name": name,
        "match": match,
        "direct_response": {"status": answer.status, "body": {"inline_string": answer.body}},
        "response_headers_to_add": [build_header("content-type", answer.content_type)],
    }
