"""How a new revision is judged while it has a share of the requests."""

from typing import Annotated, ClassVar

from pydantic import Field

from forebay.api.analysis_jobs import MAX_JOBS, JobCheck
from forebay.api.base import Duration, HttpUrl, Model, Name, NamedList, Rule
from forebay.api.shadow import Tolerance

MAX_CHECKS = 10
_ONE_LIMIT = "has(self.max) || has(self.maxRatio)"


class ErrorRate(Model):
    """Answers that hurt a client: HTTP 5xx, gRPC statuses that stand for one, and requests that were not answered in
    time. What a full queue refuses is not among them, nor what the gateway tried again on another instance.
    """

    max: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None, description="The most that may fail, in percent. Left out: as many as of the stable revision."
    )
    max_ratio: Annotated[float, Field(ge=1, le=100)] = Field(
        default=1.0,
        description="How many times the stable revision's share may fail. Less than one in a thousand is never too "
        "much.",
    )


class Latency(Model):
    """A percentile of the time from a request's first byte to its answer's last."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(_ONE_LIMIT, "needs a limit: write max: 500ms, or maxRatio: 1.5 to compare it with the stable revision"),
        Rule(
            "!has(self.max) || (duration(self.max) >= duration('1ms') && duration(self.max) <= duration('1h'))",
            'must lie between 1ms and 1h: write "500ms"',
            ".max",
        ),
    )
    percentile: float = Field(ge=50, le=99.9, description="Which percentile: 99 is the time of the slowest 1 percent.")
    max: Duration | None = Field(default=None, description="The longest that it may be.")
    max_ratio: Annotated[float, Field(ge=1, le=100)] | None = Field(
        default=None, description="How many times the stable revision's it may be."
    )


class Refusals(Model):
    """Requests that a full queue refused on all instances that were tried: HTTP 429, gRPC RESOURCE_EXHAUSTED."""

    max: float = Field(ge=0, le=100, description="The most that may be refused, in percent.")


class Agreement(Model):
    """How many answers to copies are to be as those that clients got. One that fails is none of them."""

    min: float = Field(default=99.0, ge=0, le=100, description="The least that may agree, in percent.")
    tolerance: Tolerance = Field(default=Tolerance(), description="What counts as the same answer.")


class PrometheusCheck(Model):
    """A query whose one value must stay within limits."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.min) || has(self.max)", "needs a limit: write min or max"),
        Rule("!has(self.min) || !has(self.max) || self.min <= self.max", "must be min or more", ".max"),
    )
    name: Name = Field(description="What it is called in the status.")
    address: HttpUrl | None = Field(
        default=None,
        description="Prometheus, or what answers its HTTP API. Left out: the chart's autoscaling.prometheusUrl.",
    )
    query: str = Field(
        min_length=1,
        max_length=4096,
        description="PromQL that gives one value. {{namespace}}, {{name}}, {{revision}} (the new one) and {{stable}} "
        "stand for what is judged.",
    )
    min: Annotated[float, Field(ge=-1e18, le=1e18)] | None = Field(default=None, description="The least it may be.")
    max: Annotated[float, Field(ge=-1e18, le=1e18)] | None = Field(default=None, description="The most it may be.")


class WebhookCheck(Model):
    """A service that says whether the revision is good."""

    name: Name = Field(description="What it is called in the status.")
    url: HttpUrl = Field(
        description="Gets a POST with {namespace, name, revision, stable, step} as JSON, and answers 2xx with "
        '{"result": "passed" | "failed" | "inconclusive", "message": "why"}.'
    )


class Analysis(Model):
    """Whether the new revision does as well as the one that serves, by the gateway's own counters. {} compares errors
    and latency.
    """

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "duration(self.interval) >= duration('1s') && duration(self.interval) <= duration('1h')",
            'must lie between 1s and 1h: write "30s"',
            ".interval",
        ),
        Rule("duration(self.initialDelay) <= duration('1h')", 'must be 1h or less: write "1m"', ".initialDelay"),
        Rule(
            "self.latency.all(one, self.latency.exists_one(other, other.percentile == one.percentile))",
            "names a percentile twice: write its max and maxRatio together",
            ".latency",
        ),
    )
    interval: Duration = Field(default="30s", description="How often the counters are looked at.")
    initial_delay: Duration = Field(
        default="0s", description="What isn't judged at the beginning of each step: a model that gets warm."
    )
    min_requests: int = Field(
        default=100,
        ge=1,
        le=1000000,
        description="With fewer requests to the new revision a step is not passed. It may take more to tell.",
    )
    error_rate: ErrorRate = Field(default=ErrorRate(), description="Requests that fail.")
    latency: Annotated[list[Latency], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] = Field(
        default=[Latency(percentile=99, max_ratio=1.5)],
        max_length=5,
        description="How long answers may take. [] looks at none.",
    )
    refusals: Refusals | None = Field(default=None, description="Requests that are refused.")
    agreement: Agreement = Field(
        default=Agreement(),
        description="In steps with shadow: answers to copies of requests. Of errorRate and refusals nothing is judged "
        "there, of latency what models take.",
    )
    prometheus: NamedList[PrometheusCheck] = Field(
        default=[], max_length=MAX_CHECKS, description="Queries to Prometheus, at each interval."
    )
    webhooks: NamedList[WebhookCheck] = Field(
        default=[], max_length=MAX_CHECKS, description="Services that are asked at each interval."
    )
    jobs: NamedList[JobCheck] = Field(
        default=[],
        max_length=MAX_JOBS,
        description="Jobs that run once in each step, which waits for their end. One that fails fails the revision.",
    )
