"""What is told to webhooks of a rollout, made of its Events: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from forebay.api.notify import NoticeKind, Notification
from forebay.status.conditions import write_time
from forebay.status.events import Event

Json = dict[str, Any]

_KINDS: dict[str, NoticeKind] = {
    "RolloutStarted": "Started",
    "RolloutStep": "Step",
    "RolloutPaused": "Waiting",
    "TrafficSwitched": "Completed",
    "RolloutAborted": "Aborted",
    "RolloutFailed": "Failed",
    "AnalysisFailed": "Failed",
    "RolledBack": "RolledBack",
}
# What Slack takes for markup.
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing that happened to a ModelDeployment's rollout, as it is told."""

    kind: NoticeKind
    namespace: str
    name: str
    message: str
    at: str
    status: Mapping[str, Any]


def list_notices(
    owner: tuple[str, str], events: Sequence[Event], status: Mapping[str, Any], now: datetime
) -> list[Notice]:
    """What there is to tell of a change, in the order in which it happened."""
    (namespace, name), at = owner, write_time(now)
    return [
        Notice(kind=kind, namespace=namespace, name=name, message=event.message, at=at, status=status)
        for event in events
        if (kind := _KINDS.get(event.reason))
    ]


def is_wanted(notification: Notification, notice: Notice) -> bool:
    """Whether it is to be told of this."""
    return not notification.events or notice.kind in notification.events


def build_body(notification: Notification, notice: Notice) -> Json:
    """What is sent."""
    if notification.format == "Slack":
        title = f"{notice.namespace}/{notice.name}".translate(_ESCAPED)
        return {"text": f"*{title}* {notice.kind}: {notice.message.translate(_ESCAPED)}"}
    rollout = notice.status.get("rollout") or {}
    return {
        "kind": notice.kind,
        "namespace": notice.namespace,
        "name": notice.name,
        "revision": notice.status.get("targetRevision", ""),
        "activeRevision": notice.status.get("activeRevision", ""),
        **{key: rollout[key] for key in ("step", "steps", "weightPct") if key in rollout},
        "at": notice.at,
        "message": notice.message,
    }
