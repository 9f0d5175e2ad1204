"""How many instances of a model run inside one Triton."""

from typing import ClassVar

from pydantic import Field

from forebay.api.base import Duration, Model, Rule


class ModelInstances(Model):
    """Bounds of the number of instances of the model, which share the GPU, the memory and the queue of one Triton."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.max >= self.min", "must be min or more", ".max"),
        Rule(
            "duration(self.cooldown) >= duration('1s') && duration(self.cooldown) <= duration('1h')",
            'must lie between 1s and 1h: write "1m"',
            ".cooldown",
        ),
    )
    min: int = Field(default=1, ge=1, le=64, description="Fewest instances of the model in each Triton.")
    max: int = Field(
        ge=1,
        le=64,
        description="Most instances of the model in each Triton, on each of its GPUs. resources must have the memory "
        "for all of them; where the GPU's own doesn't suffice for another, those that are there go on. When "
        "autoscaling follows the queue it adds a Triton when this many aren't enough.",
    )
    cooldown: Duration = Field(
        default="1m", description="How long fewer instances must have been enough before there are fewer."
    )
