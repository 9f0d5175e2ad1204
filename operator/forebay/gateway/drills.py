"""Drills: what a ModelDeployment's spec says of them, and when."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from forebay.plan.envoy_drill import DELAY, Fault
from forebay.plan.envoy_revisions import Target
from forebay.plan.units import parse_duration_s

Raw = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A revision that is to be broken for a time."""

    kind: str
    revision: str
    since_s: float
    until_s: float
    delay_s: float

    def is_on(self, now_s: float) -> bool:
        """Whether it is its time."""
        return self.since_s <= now_s < self.until_s

    def choose_fault(self, targets: Iterable[Target], now_s: float) -> Fault | None:
        """What becomes of the requests of one of these, if it is that revision."""
        clusters = [each.cluster for each in targets if each.revision == self.revision]
        if not clusters or not self.is_on(now_s):
            return None
        return Fault(cluster=clusters[0], kind=self.kind, delay_s=self.delay_s)

    def measure_due_s(self, now_s: float) -> float:
        """Seconds until it begins or ends; infinite where it has ended."""
        return min((each - now_s for each in (self.since_s, self.until_s) if each > now_s), default=math.inf)


def read_drill(spec: Raw) -> Drill | None:
    """The drill of a ModelDeployment."""
    raw = spec.get("drill")
    if not raw:
        return None
    return Drill(
        kind=raw["fault"],
        revision=raw["revision"],
        since_s=datetime.fromisoformat(raw["since"]).timestamp(),
        until_s=datetime.fromisoformat(raw["until"]).timestamp(),
        delay_s=parse_duration_s(raw.get("delay") or DELAY),
    )
