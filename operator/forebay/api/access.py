"""Who may call a model, and how often: enforced by the gateway."""

from typing import ClassVar, Literal

from pydantic import Field

from forebay.api.base import Duration, Model, Name, Rule


class ApiKeys(Model):
    """Callers are let in by a key."""

    secret_name: Name = Field(
        description="Secret in the same namespace that holds the keys: each of its keys is the name of a client, and "
        "the value that client's API key, which it sends as `x-api-key: KEY` or `Authorization: Bearer KEY`. A changed "
        "Secret is live within 15 s."
    )


class RateLimit(Model):
    """How many requests are let in; the others are answered with 429 and Retry-After."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "duration(self.per) >= duration('1s') && duration(self.per) <= duration('1h')",
            'must lie between 1s and 1h: write "1s" or "1m"',
            ".per",
        ),
    )
    requests: int = Field(
        ge=1, le=1_000_000, description="How many requests are let in in the time of `per`, over all gateway pods."
    )
    per: Duration = Field(default="1s", description="The time that `requests` is for.")
    by: Literal["all", "client"] = Field(
        default="all", description="Whether `requests` is for `all` clients together, or for each `client` of apiKeys."
    )


class Access(Model):
    """Who may call the model, and how often. Without it everybody who reaches the gateway may."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.rateLimit) || self.rateLimit.by == 'all' || has(self.apiKeys)",
            "clients are told apart by their API keys: write apiKeys: {secretName: ...}, or by: all",
            ".rateLimit",
        ),
    )
    api_keys: ApiKeys | None = Field(default=None, description="Let in only who has an API key.")
    rate_limit: RateLimit | None = Field(default=None, description="Let in only so many requests.")
