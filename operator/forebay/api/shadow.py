"""Copies of requests for somebody whose answers nobody gets: they are compared."""

from pydantic import Field

from forebay.api.base import Model, Name, Rule


class Tolerance(Model):
    """How far numbers with a fraction may be apart in two answers that agree. All else must be the same."""

    relative: float = Field(
        default=0.001, ge=0, le=1, description="By this part of the number that the client was answered."
    )
    absolute: float = Field(default=0.00001, ge=0, le=1e9, description="Or by so much.")


class Shadow(Model):
    """Another ModelDeployment gets copies of requests, and its answers go nowhere but into a comparison."""

    deployment: Name = Field(
        description="A ModelDeployment of the same namespace. Its queue and rollout apply, its access doesn't. It "
        "isn't woken, and copies that it refuses are lost. Paths with a model's name are rewritten to its name; gRPC "
        "has the name in its messages, so that both models must be served under one name for it."
    )
    share: int = Field(default=100, ge=1, le=100, description="Share of the requests that are copied, in percent.")
    concurrency: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="How many copies may be on their way at once, in each pod of the gateway, and as many over gRPC: "
        "more are lost. Each may take 1 MiB of its memory; a request that is longer isn't copied.",
    )
    tolerance: Tolerance = Field(default=Tolerance(), description="What counts as the same answer.")


SHADOW_ANOTHER = Rule(
    "!has(self.spec.shadow) || self.spec.shadow.deployment != self.metadata.name",
    "must be another ModelDeployment: a new revision of this one gets copies by a step of rollout.canary",
    ".spec.shadow.deployment",
)
