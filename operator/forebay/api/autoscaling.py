"""How the number of instances follows the load."""

from typing import Annotated, ClassVar

from pydantic import Field

from forebay.api.base import Duration, FreeForm, MaxHeld, Model, Rule


class Target(Model):
    """How busy the instances are to be kept on average. Of several, what asks for the most instances decides."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.queueTime) || (duration(self.queueTime) >= duration('1ms') "
            "&& duration(self.queueTime) <= duration('1h'))",
            'must lie between 1ms and 1h: write "200ms"',
            ".queueTime",
        ),
    )
    queue: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description="Requests that an instance works on and that wait for it; a transformer's not while its predictor "
        "has them. What is followed when nothing is written: 70 percent of concurrency.",
    )
    queue_time: Duration | None = Field(
        default=None, description="Mean time that requests wait in the queue of an instance, over the last minute."
    )
    requests_per_second: int | None = Field(
        default=None, ge=1, le=1000000, description="Requests per second of an instance, over the last minute."
    )
    cpu: int | None = Field(default=None, ge=1, le=10000, description="CPU in use, in percent of resources.cpu.")
    memory: int | None = Field(
        default=None, ge=1, le=10000, description="Memory in use, in percent of resources.memory."
    )
    gpu: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="GPU in use, in percent, as NVIDIA's DCGM exporter tells Prometheus; of MIG slices it tells none. "
        "Needs autoscaling.prometheusUrl of the chart.",
    )


class Autoscaling(Model):
    """A HorizontalPodAutoscaler of the component's own."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.max >= self.min", "must be min or more", ".max"),)
    min: int = Field(default=1, ge=1, le=1000, description="Fewest instances.")
    max: int = Field(ge=1, le=1000, description="Most instances.")
    target: Target = Field(default=Target(), description="How busy the instances are to be kept on average.")
    metrics: Annotated[list[FreeForm], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] = Field(
        default=[],
        max_length=16,
        description="More metrics to follow, as spec.metrics of a HorizontalPodAutoscaler (autoscaling/v2), passed on "
        "as they are.",
    )
    behavior: FreeForm | None = Field(
        default=None,
        description="How fast to scale, as spec.behavior of a HorizontalPodAutoscaler (autoscaling/v2), passed on as "
        "it is. Where target.queue is followed, a step of load is answered at once, unless scaleUp is written here, or "
        "KEDA scales (autoscaling.provider of the chart).",
    )


class ColdStart(Model):
    """What becomes of requests that come while no instance runs."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "duration(self.timeout) >= duration('1s') && duration(self.timeout) <= duration('1h')",
            'must lie between 1s and 1h: write "2m"',
            ".timeout",
        ),
    )
    timeout: Duration = Field(
        default="2m",
        description="How long a request is held for an instance, before it is answered with 503 and Retry-After.",
    )
    max_held: MaxHeld = 1000


class PredictorAutoscaling(Autoscaling):
    """The predictor's autoscaler. Its min may be 0, for the whole ModelDeployment."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *Autoscaling.rules,
        Rule("!has(self.idle) || self.min == 0", "is how long until there are 0 instances: write min: 0", ".idle"),
        Rule("!has(self.coldStart) || self.min == 0", "is a start from 0 instances: write min: 0", ".coldStart"),
        Rule(
            "!has(self.idle) || (duration(self.idle) >= duration('5s') && duration(self.idle) <= duration('24h'))",
            'must lie between 5s and 24h: write "5m"',
            ".idle",
        ),
    )
    min: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Fewest instances. 0: without a request for as long as idle says, all instances of predictor and "
        "transformer end; the next request starts them, and waits for them.",
    )
    idle: Duration | None = Field(
        default=None, description="With min: 0, how long no request comes before all instances end; 5m when left out."
    )
    cold_start: ColdStart | None = Field(
        default=None, description="With min: 0, how requests wait while there is no instance."
    )
