"""That a workload has another number of instances, and why: in the words of an Event."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from forebay.plan.names import QUEUE_METRIC, QUEUE_TIME_METRIC, RATE_METRIC
from forebay.plan.quantities import parse_quantity
from forebay.rollout.progress import Phase
from forebay.status.conditions import ASLEEP, find_previous
from forebay.status.events import Event

Json = dict[str, Any]
Decider = Literal["panic", "autoscaler", "spec", "somebody", "idle", "wake"]

_FEWEST = "the fewest there may be"
_WORDS = {
    QUEUE_METRIC: "{current} requests at each, target {target}",
    QUEUE_TIME_METRIC: "{current} s in the queue, target {target} s",
    RATE_METRIC: "{current} requests per second of each, target {target}",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """A workload's instances, before and now."""

    component: str
    workload: str
    before: int
    after: int

    @property
    def direction(self) -> str:
        """Whether there are more or fewer."""
        return "up" if self.after > self.before else "down"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Who wanted it so, and why."""

    decider: Decider
    text: str


def find_changes(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Change]:
    """What has another number of instances in one status than in the one before. What was aborted, has
    failed or is replaced, or is so no more, is told as that.
    """
    if any(_is_ended(each.get("rollout") or {}) for each in (previous, current)):
        return
    before = {each["workload"]: each["replicas"] for each in previous.get("components") or []}
    for each in current.get("components") or []:
        count = before.get(each["workload"])
        if count is not None and count != each["replicas"]:
            yield Change(component=each["name"], workload=each["workload"], before=count, after=each["replicas"])


def _is_ended(rollout: Mapping[str, Any]) -> bool:
    return bool(rollout.get("phase") in (Phase.ABORTED, Phase.FAILED) or rollout.get("heldSince"))


def find_sleep(change: Change, current: Mapping[str, Any]) -> Decider | None:
    """Whether it fell asleep or was woken, of which the Events Asleep and Woken tell."""
    is_asleep = find_previous(current, ASLEEP).get("status")
    if change.after == 0 and is_asleep == "True":
        return "idle"
    return "wake" if change.before == 0 and is_asleep == "False" else None


def explain(change: Change, autoscaler: Mapping[str, Any] | None, *, raised: str = "") -> Cause | None:
    """Why it is so, by what its HorizontalPodAutoscaler tells. None: that tells nothing of it, or not yet.

    `raised` is why the operator itself has raised the floor to that number.
    """
    if autoscaler is None:
        return Cause(decider="spec", text=f"spec.{change.component}.replicas")
    if raised and change.direction == "up":
        return Cause(decider="panic", text=raised)
    status = autoscaler.get("status") or {}
    if status.get("desiredReplicas") != change.after:
        # What was woken is not left to the autoscaler's next look.
        is_least = change.direction == "up" and change.after == autoscaler["spec"].get("minReplicas")
        return Cause(decider="autoscaler", text=_FEWEST) if is_least else None
    return Cause(decider="autoscaler", text=_describe(autoscaler, change))


def describe_stranger(autoscaler: Mapping[str, Any] | None, *, rival: str = "") -> Cause:
    """Nobody of ours wanted it so."""
    if rival:
        return Cause(decider="somebody", text=f"set by the HorizontalPodAutoscaler {rival}, or by hand")
    wanted = ((autoscaler or {}).get("status") or {}).get("desiredReplicas")
    beside = f", where the autoscaler wants {wanted}" if wanted is not None else ""
    return Cause(decider="somebody", text=f"set by somebody else{beside}")


def tell(change: Change, cause: Cause) -> Event:
    """The Event."""
    message = f"{change.component}: {change.before} → {change.after} instances: {cause.text}"
    return Event(type="Normal", reason="Scaled", message=message, action="Scale")


def tell_rival(component: str, rival: str) -> Event:
    """The Event of an autoscaler that gives way to another one."""
    message = (
        f"{component}: the HorizontalPodAutoscaler {rival} scales it, so ours gives way and is deleted: two would undo "
        f"each other's work. For ours, delete that one: kubectl delete hpa {rival}"
    )
    return Event(type="Warning", reason="AutoscalerConflict", message=message, action="Scale")


def _describe(autoscaler: Mapping[str, Any], change: Change) -> str:
    """What the autoscaler saw of the metric that asks for the most instances."""
    spec, status = autoscaler["spec"], autoscaler["status"]
    seen = list(zip(spec.get("metrics") or (), status.get("currentMetrics") or (), strict=False))
    found = [each for each in (_read(*pair) for pair in seen) if each]
    ratio, text = max(found, default=(Decimal(0), ""))
    if change.after == spec.get("minReplicas") and change.direction == "up" and ratio <= 1:
        return _FEWEST
    return text or "its metrics"


def _read(metric: Mapping[str, Any], current: Mapping[str, Any]) -> tuple[Decimal, str] | None:
    """How far a metric is from its target, and both in words; None where it isn't known."""
    kind = str(metric.get("type", ""))
    part = kind[:1].lower() + kind[1:]
    wanted, found = metric.get(part) or {}, (current.get(part) or {}).get("current") or {}
    target = wanted.get("target") or {}
    for field in ("averageUtilization", "averageValue", "value"):
        goal, value = parse_quantity(target.get(field)), parse_quantity(found.get(field))
        if goal and value is not None:
            name = wanted.get("name") or (wanted.get("metric") or {}).get("name", "")
            unit = " %" if field == "averageUtilization" else ""
            words = _WORDS.get(name, f"{name} {{current}}{unit}, target {{target}}{unit}")
            return value / goal, words.format(current=f"{float(value):.3g}", target=f"{float(goal):.3g}")
    return None
