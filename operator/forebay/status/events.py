"""What changed from one status to the next, as Kubernetes Events tell it. What isn't new is not told again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from forebay.observation import Reason
from forebay.status.conditions import READY, RESOLVED, find_previous

# What only takes its time is in the status, and no news.
_PROGRESS = frozenset(
    {Reason.STARTING, Reason.DOWNLOADING, Reason.INSTALLING, Reason.LOADING, Reason.ROLLING_OUT, Reason.ROUTING}
)


@dataclass(frozen=True, kw_only=True)
class Event:
    """An Event: its type, the reason in one word, the message, and what was being done."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str


def tell_events(previous: Mapping[str, Any], current: Mapping[str, Any]) -> list[Event]:
    """The Events of a change, in the order in which things happen."""
    return [
        *_tell_target(previous, current),
        *_tell_scale(previous, current),
        *_tell_takeover(previous, current),
        *_tell_readiness(previous, current),
        *_tell_resolution(previous, current),
    ]


def _tell_target(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    before, after = previous.get("targetRevision") or "", current.get("targetRevision") or ""
    if before == after or not after:
        return
    message = f"revision {after} starts, to follow {before}" if before else f"revision {after} starts: it is the first"
    yield Event(type="Normal", reason="RolloutStarted", message=message, action="Rollout")


def _tell_scale(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    before = {each["workload"]: each["replicas"] for each in previous.get("components") or []}
    for each in current.get("components") or []:
        count = before.get(each["workload"])
        if count is not None and count != each["replicas"]:
            message = f"{each['name']}: from {count} to {each['replicas']} instances"
            yield Event(type="Normal", reason="Scaled", message=message, action="Scale")


def _tell_takeover(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    before, after = previous.get("activeRevision") or "", current.get("activeRevision") or ""
    if before == after:
        return
    if after:
        message = f"revision {after} takes over from {before}" if before else f"revision {after} serves"
        yield Event(type="Normal", reason="TrafficSwitched", message=message, action="Rollout")
    else:
        message = f"revision {before} is gone: nobody serves"
        yield Event(type="Warning", reason="TrafficStopped", message=message, action="Rollout")


def _tell_readiness(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    before, after = find_previous(previous, READY), find_previous(current, READY)
    reason, message = str(after.get("reason") or ""), str(after.get("message") or "")
    if after.get("status") == "True":
        if before.get("status") != "True":
            yield Event(type="Normal", reason=Reason.READY, message=message, action="Reconcile")
    elif after and not _is_known(before, reason, message):
        yield Event(type="Warning", reason=reason, message=message, action="Reconcile")


def _tell_resolution(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    """A registry that isn't there changes nothing for whoever serves, and yet somebody should look."""
    before, after = find_previous(previous, RESOLVED), find_previous(current, RESOLVED)
    is_lost = before.get("status") != "False" and after.get("status") == "False"
    if is_lost and after.get("message") != find_previous(current, READY).get("message"):
        yield Event(type="Warning", reason=after["reason"], message=after["message"], action="Resolve")
    elif before.get("status") == "False" and after.get("status") == "True":
        yield Event(type="Normal", reason=after["reason"], message=after["message"], action="Resolve")


def _is_known(before: Mapping[str, Any], reason: str, message: str) -> bool:
    """Whether a trouble was told, or is none of the ModelDeployment's own."""
    # When a pod of the gateway starts, every ModelDeployment waits for its answer: no news, a thousand times.
    gateway_starts = reason == Reason.GATEWAY_NOT_READY and before.get("status") == "True"
    return reason in _PROGRESS or gateway_starts or (before.get("reason"), before.get("message")) == (reason, message)
