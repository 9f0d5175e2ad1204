"""Prometheus' recording rules and alerts.

`@name@` is a value of the chart, under `monitoring.alerts`.
"""

from typing import Any

from forebay.plan.envoy_replies import NO_INSTANCE, QUEUE_FULL, TIMEOUT

Json = dict[str, Any]

INSTANCE = "namespace, deployment, component, instance"
DEPLOYMENT = "namespace, deployment"
QUEUE = 'job="forebay-queue", envoy_cluster_name="queue"'
# The model server's REST and gRPC, which the requests of the queue go on to.
MODEL = 'job="forebay-queue", envoy_cluster_name=~"model_(http|grpc)"'
UPSTREAM = "envoy_cluster_upstream_rq"


def build_rules() -> Json:
    groups = {"forebay-queue": build_queue(), "forebay-requests": build_requests(), "forebay-alerts": build_alerts()}
    return {"groups": [{"name": name, "rules": rules} for name, rules in groups.items()]}


def record(name: str, expression: str, **labels: str) -> Json:
    return {"record": name, "expr": expression, **({"labels": labels} if labels else {})}


def count(name: str, which: str) -> str:
    return f"sum by ({INSTANCE}) ({UPSTREAM}_{name}{{{which}}})"


def seconds(which: str) -> str:
    """Envoy counts whole milliseconds, cut off: half of one is added, as forebay.metrics does."""
    return f"({count('time_sum', which)} + 0.5 * {count('time_count', which)}) / 1000"


def mean_rate(name: str, which: str) -> str:
    return f"sum by ({INSTANCE}) (rate({UPSTREAM}_{name}{{{which}}}[5m]))"


def build_queue() -> list[Json]:
    """What a pod's sidecar counts, under the names that `forebay serve` has on a laptop (forebay.metrics)."""
    rejected = "forebay_queue_rejected_total"
    # A request that is between the two stages makes their difference go back, which a counter must not: so no
    # forebay_queue_wait_seconds_sum is recorded, but the mean that it would be good for.
    total, service = mean_rate("time_sum", QUEUE), mean_rate("time_sum", MODEL)
    wait = f"clamp_min({total} - {service}, 0) / 1000 / ({mean_rate('time_count', QUEUE)} > 0)"
    return [
        record("forebay_queue_in_flight", count("active", QUEUE)),
        record("forebay_queue_queued", count("pending_active", QUEUE)),
        record(rejected, count("pending_overflow", QUEUE), reason="queue-full"),
        record(rejected, count("timeout", QUEUE), reason="timeout"),
        record(
            rejected, f"{count('pending_failure_eject', MODEL)} + {count('rx_reset', MODEL)}", reason="instance-failed"
        ),
        record("forebay_queue_service_seconds_sum", seconds(MODEL)),
        record("forebay_queue_service_seconds_count", count("time_count", MODEL)),
        record("forebay:queue_wait_seconds:mean5m", wait),
    ]


# What was sent to no ModelDeployment that there is has an empty name.
KNOWN = 'deployment!=""'
REQUESTS = f"forebay_requests_total{{{KNOWN}}}"
ERRORS = f'forebay_requests_total{{{KNOWN}, code=~"5.."}}'
# Refused for want of instances: not by a key, a limit or a path.
OVERLOAD = "|".join(reply.reason for reply in (QUEUE_FULL, TIMEOUT, NO_INSTANCE))
REJECTED = f'forebay_requests_rejected_total{{{KNOWN}, reason=~"{OVERLOAD}"}}'


def rate(series: str, *, by: str = DEPLOYMENT) -> str:
    return f"sum by ({by}) (rate({series}[5m]))"


def build_requests() -> list[Json]:
    requests = "forebay:requests:rate5m"
    # Where nothing was refused or failed yet there is no series to divide: then it is none of what was asked.
    none = f"0 * {requests}"
    rejected = f"({rate(REJECTED)} or {none})"
    failed = f"({rate(ERRORS)} or {none})"
    buckets = rate(f"forebay_request_duration_seconds_bucket{{{KNOWN}}}", by=f"{DEPLOYMENT}, le")
    return [
        record(requests, rate(REQUESTS)),
        record("forebay:rejected:ratio_rate5m", f"{rejected} / ({requests} > 0)"),
        record("forebay:errors:ratio_rate5m", f"{failed} / ({requests} > 0)"),
        record("forebay:latency_seconds:p99_5m", f"histogram_quantile(0.99, {buckets})"),
    ]


def alert(rule: tuple[str, str], *, lasting: str, severity: str, summary: str, description: str) -> Json:
    name, expression = rule
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


NAME = "{{ $labels.namespace }}/{{ $labels.deployment }}"
DESCRIBE = "kubectl -n {{ $labels.namespace }} describe md {{ $labels.deployment }}"
PERCENT = "{{ $value | humanizePercentage }}"


def build_alerts() -> list[Json]:
    # While a new revision has a share of the requests, or can be looked at, the other is whole: that may last.
    shared, waits = (f"max by ({DEPLOYMENT}) (forebay_rollout_{each}) > 0" for each in ("weight_pct", "waiting"))
    goes_well = f"({shared} or {waits})"
    return [
        alert(
            ("ForebayNotReady", f"max by ({DEPLOYMENT}) (forebay_deployment_ready) == 0 unless {goes_well}"),
            lasting="@notReadyFor@",
            severity="critical",
            summary=f"{NAME} is not ready",
            description=f"Its condition Ready says why, and what to do: {DESCRIBE}",
        ),
        alert(
            ("ForebayRejecting", "forebay:rejected:ratio_rate5m > @rejectedRatio@"),
            lasting="5m",
            severity="warning",
            summary=f"{NAME} refuses {PERCENT} of its requests",
            description="More comes in than its instances can answer in time. Give it more (autoscaling.max), or "
            "a longer queue.timeout.",
        ),
        alert(
            ("ForebayErrorRate", "forebay:errors:ratio_rate5m > @errorRatio@"),
            lasting="5m",
            severity="critical",
            summary=f"{NAME} fails {PERCENT} of its requests",
            description=f"`forebay logs {NAME}` shows the servers' own errors; {DESCRIBE} shows failing instances.",
        ),
        alert(
            ("ForebayFallback", f"{rate('forebay_fallbacks_total')} > 0.1 * forebay:requests:rate5m > 0"),
            lasting="5m",
            severity="warning",
            summary=f"a fallback is asked for more than a tenth of the requests of {NAME}",
            description=f"Clients get its answers, or worse. What is amiss with the model itself: {DESCRIBE}",
        ),
        alert(
            ("ForebayLatency", "forebay:latency_seconds:p99_5m > @latencySeconds@"),
            lasting="10m",
            severity="warning",
            summary=f"{NAME} takes {{{{ $value | humanizeDuration }}}} for one of a hundred requests",
            description="The dashboard tells waiting in the queue from the model's own time: more instances help "
            "against the first alone.",
        ),
    ]
