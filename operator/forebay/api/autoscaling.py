"""How the number of instances follows the load."""

from typing import Annotated, ClassVar

from pydantic import Field

from forebay.api.base import FreeForm, Model, Rule


class Target(Model):
    """How busy the instances are to be kept on average, in percent of what they request."""

    cpu: int | None = Field(default=None, ge=1, le=10000, description="CPU in use, in percent of resources.cpu.")
    memory: int | None = Field(
        default=None, ge=1, le=10000, description="Memory in use, in percent of resources.memory."
    )


class Autoscaling(Model):
    """A HorizontalPodAutoscaler of the component's own."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.max >= self.min", "must be min or more", ".max"),
        Rule(
            "has(self.target.cpu) || has(self.target.memory) || self.metrics.size() > 0",
            "write what to follow: target: {cpu: 70}, or metrics as in a HorizontalPodAutoscaler",
            ".target",
        ),
    )
    min: int = Field(default=1, ge=1, le=1000, description="Fewest instances.")
    max: int = Field(ge=1, le=1000, description="Most instances.")
    target: Target = Field(default=Target(), description="How busy the instances are to be kept.")
    metrics: Annotated[list[FreeForm], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] = Field(
        default=[],
        max_length=16,
        description="More metrics to follow, as spec.metrics of a HorizontalPodAutoscaler (autoscaling/v2), passed on "
        "as they are.",
    )
    behavior: FreeForm | None = Field(
        default=None,
        description="How fast to scale, as spec.behavior of a HorizontalPodAutoscaler (autoscaling/v2), passed on as "
        "it is.",
    )
