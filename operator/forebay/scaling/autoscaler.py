"""What a HorizontalPodAutoscaler of one metric per pod decides, as Kubernetes' own controller does it.

Source: https://github.com/kubernetes/kubernetes/tree/v1.35.0/pkg/controller/podautoscaler, `replica_calculator.go` and
`horizontal.go`: calcPlainMetricReplicas, stabilizeRecommendationWithBehaviors, convertDesiredReplicasWithBehaviorRate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SYNC_S = 15.0
_TOLERANCE = 0.1
_KEPT_S = 3600.0
_UP: Mapping[str, Any] = {
    "stabilizationWindowSeconds": 0,
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN: Mapping[str, Any] = {
    "stabilizationWindowSeconds": 300,
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The fewest and the most instances."""

    least: int
    most: int


@dataclass(kw_only=True)
class Autoscaler:
    """One HorizontalPodAutoscaler: its target of the metric's mean, spec.behavior, and what it remembers."""

    target: float
    behavior: Mapping[str, Any] = field(default_factory=dict)
    _recommendations: list[tuple[float, int]] = field(default_factory=list)
    # Times and sizes of the changes that it made.
    _changes: list[tuple[float, int]] = field(default_factory=list)

    def look(self, now_s: float, current: int, values: Sequence[float], bounds: Bounds) -> int:
        """The number of instances from now on. `values` are of the pods that tell theirs; the others are starting."""
        if not self._recommendations:
            self._recommendations.append((now_s, current))
        if current == 0:
            return 0
        desired = self._choose(now_s, current, values, bounds)
        if desired != current:
            self._changes = [each for each in self._changes if each[0] > now_s - _KEPT_S] + [(now_s, desired - current)]
        return desired

    def _choose(self, now_s: float, current: int, values: Sequence[float], bounds: Bounds) -> int:
        if not bounds.least <= current <= bounds.most:
            return max(bounds.least, min(current, bounds.most))
        if not values:
            return current
        wanted = calculate_replicas(current, values, self.target)
        stable = self._stabilize(now_s, current, wanted)
        if stable > current:
            limit = self._limit_up(now_s, current)
            return max(current, min(stable, bounds.most, limit))
        if stable < current:
            limit = self._limit_down(now_s, current)
            return min(current, max(stable, bounds.least, limit))
        return current

    def _stabilize(self, now_s: float, current: int, wanted: int) -> int:
        """What was asked for all the time of a window: for the way up the least, for the way down the most."""
        up_s, down_s = (
            self._rules("scaleUp")["stabilizationWindowSeconds"],
            self._rules("scaleDown")["stabilizationWindowSeconds"],
        )
        up = min([wanted, *(number for at_s, number in self._recommendations if at_s > now_s - up_s)])
        down = max([wanted, *(number for at_s, number in self._recommendations if at_s > now_s - down_s)])
        kept_s = max(up_s, down_s)
        self._recommendations = [each for each in self._recommendations if each[0] > now_s - kept_s] + [(now_s, wanted)]
        return min(max(current, up), down)

    def _rules(self, way: str) -> Mapping[str, Any]:
        defaults = _UP if way == "scaleUp" else _DOWN
        given = self.behavior.get(way) or {}
        return {**defaults, **{name: value for name, value in given.items() if value is not None}}

    def _limit_up(self, now_s: float, current: int) -> int:
        rules = self._rules("scaleUp")
        if rules.get("selectPolicy") == "Disabled":
            return current
        limits: list[int] = []
        for policy in rules["policies"]:
            began = current - self._sum_changes(now_s, policy["periodSeconds"])
            share = math.ceil(began * (1 + policy["value"] / 100))
            limits.append(share if policy["type"] == "Percent" else began + policy["value"])
        return max(current, (min if rules.get("selectPolicy") == "Min" else max)(limits))

    def _limit_down(self, now_s: float, current: int) -> int:
        rules = self._rules("scaleDown")
        if rules.get("selectPolicy") == "Disabled":
            return current
        limits: list[int] = []
        for policy in rules["policies"]:
            began = current - self._sum_changes(now_s, policy["periodSeconds"])
            share = int(began * (1 - policy["value"] / 100))
            limits.append(share if policy["type"] == "Percent" else began - policy["value"])
        return min(current, (max if rules.get("selectPolicy") == "Min" else min)(limits))

    def _sum_changes(self, now_s: float, period_s: float) -> int:
        return sum(size for at_s, size in self._changes if at_s > now_s - period_s)


def calculate_replicas(current: int, values: Sequence[float], target: float) -> int:
    """How many instances bring the mean of the metric to its target. Those that start count as idle where there are to
    be more, and not at all where there are to be fewer.
    """
    ratio = sum(values) / len(values) / target
    silent = max(0, current - len(values))
    if not silent:
        return current if abs(1 - ratio) <= _TOLERANCE else math.ceil(_exact(ratio * len(values)))
    if ratio < 1:
        # Those that start are left out, on the way down.
        return current if abs(1 - ratio) <= _TOLERANCE else min(current, math.ceil(_exact(ratio * len(values))))
    if ratio > 1:
        ratio = sum(values) / current / target
        if abs(1 - ratio) <= _TOLERANCE or ratio < 1:
            return current
        return max(current, math.ceil(_exact(ratio * current)))
    return current


def _exact(number: float) -> float:
    """7.000000000001 instances are seven."""
    return round(number, 9)
