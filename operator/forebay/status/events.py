"""What changed from one status to the next, as Kubernetes Events tell it. What isn't new is not told again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from forebay.observation import Reason
from forebay.plan.units import format_duration
from forebay.status.conditions import ASLEEP, READY, RESOLVED, find_previous
from forebay.status.drill import describe_drill

# What only takes its time is in the status, and no news.
_PROGRESS = frozenset(
    {Reason.STARTING, Reason.DOWNLOADING, Reason.INSTALLING, Reason.LOADING, Reason.ROLLING_OUT, Reason.ROUTING}
)
# These have Events of their own.
_ROLLOUT = frozenset({Reason.ROLLOUT_PAUSED, Reason.ROLLOUT_ABORTED, Reason.ROLLOUT_FAILED, Reason.ANALYSIS_FAILED})


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
        *_tell_takeover(previous, current),
        *_tell_readiness(previous, current),
        *_tell_sleep(previous, current),
        *_tell_resolution(previous, current),
        *_tell_drill(previous, current),
    ]


def _tell_drill(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    before, after = describe_drill(previous), describe_drill(current)
    if after and before != after:
        yield Event(type="Warning", reason="DrillBegun", message=after, action="Drill")
    elif before and not after:
        yield Event(type="Normal", reason="DrillEnded", message="the drill is over", action="Drill")


def _tell_target(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    before, after = previous.get("targetRevision") or "", current.get("targetRevision") or ""
    # That the first one starts is what the status says, and nothing that anybody was served by changes.
    if before and after == _name_active(current) == _name_active(previous) and before != after:
        message = f"revision {before} is wanted no more: {after} serves on"
        yield Event(type="Normal", reason="RolloutCancelled", message=message, action="Rollout")
    elif before and after and before != after:
        message = f"revision {after} starts, to follow {before}"
        yield Event(type="Normal", reason="RolloutStarted", message=message, action="Rollout")


def _tell_takeover(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    before, after = _name_active(previous), _name_active(current)
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
        if before.get("status") != "True" and reason != Reason.ASLEEP:
            yield Event(type="Normal", reason=Reason.READY, message=message, action="Reconcile")
    elif reason == Reason.SUSPENDED:
        if before.get("reason") != reason:
            yield Event(type="Normal", reason=reason, message=message, action="Suspend")
    elif after and not _is_known(before, reason, message):
        yield Event(type="Warning", reason=reason, message=message, action="Reconcile")


def _tell_sleep(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    before, after = find_previous(previous, ASLEEP), find_previous(current, ASLEEP)
    if after.get("status") == "True" and before.get("status") != "True":
        yield Event(type="Normal", reason=Reason.ASLEEP, message=after["message"], action="Scale")
    elif before.get("status") == "True" and after.get("reason") == Reason.AWAKE:
        began, ended = (datetime.fromisoformat(each["lastTransitionTime"]) for each in (before, after))
        slept = format_duration((ended - began).total_seconds())
        # Whoever raises one of its Deployments stands for a request.
        is_changed = previous.get("observedGeneration") != current.get("observedGeneration")
        by = "a changed spec" if is_changed or _name_active(previous) != _name_active(current) else "a request"
        yield Event(type="Normal", reason="Woken", message=f"woken by {by} after {slept} asleep", action="Scale")


def _name_active(status: Mapping[str, Any]) -> str:
    return str(status.get("activeRevision") or "")


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
    return (
        reason in _PROGRESS | _ROLLOUT
        or gateway_starts
        or (before.get("reason"), before.get("message")) == (reason, message)
    )
