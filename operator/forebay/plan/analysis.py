"""How a new revision is judged: the spec's analysis, with every default decided."""

from dataclasses import dataclass

from forebay.api import analysis as api
from forebay.api.analysis_jobs import JobCheck
from forebay.plan.units import parse_duration_s


@dataclass(frozen=True, kw_only=True)
class Share:
    """What part of the requests may be bad. None is no such limit."""

    max_pct: float | None = None
    max_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """How long a percentile of the answers may take. None is no such limit."""

    percentile: float
    max_ms: float | None = None
    max_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class Query:
    """PromQL whose value must stay within limits. An empty address is the operator's own Prometheus."""

    name: str
    address: str
    query: str
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A service that says whether a revision is good."""

    name: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What is looked at, and how often."""

    interval_s: float = 30.0
    delay_s: float = 0.0
    min_requests: int = 100
    errors: Share = Share(max_ratio=1.0)
    latency: tuple[Percentile, ...] = (Percentile(percentile=99.0, max_ratio=1.5),)
    refusals: Share | None = None
    # The least share of answers to copies that agree.
    min_agreement_pct: float = 99.0
    queries: tuple[Query, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    # As they were written: see plan/analysis_jobs.
    jobs: tuple[JobCheck, ...] = ()


def resolve_analysis(written: api.Analysis) -> Analysis:
    """Units, and names of the plan's own."""
    return Analysis(
        interval_s=parse_duration_s(written.interval),
        delay_s=parse_duration_s(written.initial_delay),
        min_requests=written.min_requests,
        errors=Share(max_pct=written.error_rate.max, max_ratio=written.error_rate.max_ratio),
        latency=tuple(
            Percentile(
                percentile=each.percentile,
                max_ms=parse_duration_s(each.max) * 1000 if each.max else None,
                max_ratio=each.max_ratio,
            )
            for each in written.latency
        ),
        refusals=Share(max_pct=written.refusals.max) if written.refusals else None,
        min_agreement_pct=written.agreement.min,
        queries=tuple(
            Query(name=each.name, address=each.address or "", query=each.query, min=each.min, max=each.max)
            for each in written.prometheus
        ),
        webhooks=tuple(Webhook(name=each.name, url=each.url) for each in written.webhooks),
        jobs=tuple(written.jobs),
    )
