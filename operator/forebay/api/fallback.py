"""Who answers when a model can't."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from forebay.api.base import Duration, Form, Model, Name, Rule

_LONGEST_BODY = 4096  # what Envoy takes for an answer of its own
Cause = Literal["Down", "Refused", "Slow", "Error"]


class FixedAnswer(Model):
    """An answer that is always the same."""

    status: int = Field(default=200, ge=200, le=599, description="HTTP status.")
    content_type: Annotated[str, Form("TYPE/SUBTYPE, such as text/plain")] = Field(
        default="application/json",
        min_length=3,
        max_length=127,
        pattern=r"^[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+(; ?charset=[A-Za-z0-9-]+)?$",
        description="What the body is.",
    )
    body: str = Field(
        max_length=_LONGEST_BODY, description="The body, as it is sent: JSON, or whatever contentType says."
    )


class Fallback(Model):
    """Who answers when the model can't: another ModelDeployment, or a fixed answer."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.deployment) != has(self.response)",
            "write exactly one of deployment (another ModelDeployment) and response (a fixed answer)",
        ),
        Rule(
            "!has(self.after) || 'Slow' in self.when",
            "is for requests that take too long: write Slow in when, too, or leave it out",
            ".after",
        ),
        Rule("!has(self.after) || duration(self.after) >= duration('10ms')", 'must be 10ms or more: "2s"', ".after"),
    )
    deployment: Name | None = Field(
        default=None,
        description="A ModelDeployment of the same namespace. Its queue and rollout apply, its access doesn't: who "
        "calls was let in already. Its own fallback isn't asked. Paths with a model's name are rewritten to its name; "
        "gRPC has the name in its messages, and so no fallback unless both models are served under one name.",
    )
    response: FixedAnswer | None = Field(
        default=None, description="A fixed answer. gRPC, which has no such answers, gets the error."
    )
    when: list[Cause] = Field(
        default=["Down", "Refused", "Slow"],
        min_length=1,
        max_length=4,
        description="When: Down (no instance, or all that were tried failed), Refused (all queues that were tried are "
        "full), Slow (not answered within queue.timeout, or no byte of an answer within `after`), Error (the model "
        "itself answers 5xx, or UNKNOWN, INTERNAL or DATA_LOSS). Other instances are tried first.",
    )
    after: Duration | None = Field(
        default=None,
        description="How long nothing may have come of an answer before the fallback is asked, too: whoever answers "
        "first is heard. Less than queue.timeout, which it is when left out.",
    )
    budget: int = Field(
        default=100,
        ge=1,
        le=100,
        description="Share of the requests in flight that may be at the fallback at once, in percent, so that an "
        "overload isn't passed on; 3 may always, in each pod of the gateway. Others get the answer that they would "
        "have had. Where nothing but the fallback answers, less than 100 lets only few in.",
    )


FALLBACK_SOONER = Rule(
    "!has(self.fallback) || !has(self.fallback.after) || duration(self.fallback.after) < duration(self.queue.timeout)",
    "must be less than queue.timeout, by which a request is answered anyway",
    ".fallback.after",
)
FALLBACK_ANOTHER = Rule(
    "!has(self.spec.fallback) || !has(self.spec.fallback.deployment) || "
    "self.spec.fallback.deployment != self.metadata.name",
    "must be another ModelDeployment: this one can't answer then",
    ".spec.fallback.deployment",
)
