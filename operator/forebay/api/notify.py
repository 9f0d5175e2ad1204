"""Who is told how a rollout goes."""

from typing import ClassVar, Literal

from pydantic import Field

from forebay.api.base import HttpUrl, Model, Name, Rule

NoticeKind = Literal["Started", "Step", "Waiting", "Completed", "Aborted", "Failed", "RolledBack"]


class Webhook(Model):
    """Where a notification is sent to, by POST."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.url) != has(self.secretName)",
            "write exactly one of url (https://HOST/PATH) and secretName (of a Secret that holds it)",
        ),
    )
    url: HttpUrl | None = Field(
        default=None,
        repr=False,
        description="Its address. Whoever may read the ModelDeployment reads it, too: where it is a secret, as Slack's "
        "is, write secretName.",
    )
    secret_name: Name | None = Field(
        default=None,
        description="Secret in the same namespace that holds the address. The installation must allow it "
        "(notifications.secrets of the chart).",
    )
    key: str = Field(
        default="url",
        min_length=1,
        max_length=253,
        pattern=r"^[-._a-zA-Z0-9]+$",
        description="The Secret's key under which the address is.",
    )


class Notification(Model):
    """Something that is told of every rollout."""

    webhook: Webhook = Field(description="Where it is sent to.")
    format: Literal["JSON", "Slack"] = Field(
        default="JSON",
        description="JSON: an object with kind, namespace, name, revision, activeRevision, step, steps, weightPct, at "
        "and message. Slack: its incoming webhooks' text, which Mattermost and others take, too.",
    )
    # Not `on`: YAML 1.1, which kubectl speaks, takes that for `true`.
    events: list[NoticeKind] = Field(
        default=[],
        max_length=7,
        description="What is told: Started, Step (it gets another share), Waiting (for a person), Completed, Aborted, "
        "Failed, RolledBack. All when left out.",
    )
