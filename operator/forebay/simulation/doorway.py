"""The gateway in front of something that may sleep: it holds requests while nobody is there, and knows who idles.

Whether it is to sleep is decided by the operator's own code (`scaling.idle`).
"""

from collections import deque
from dataclasses import dataclass

from forebay.scaling.idle import Vigil, choose_period_s, is_idle
from forebay.simulation.instances import HELD_FULL, HELD_LATE, Instances


@dataclass(frozen=True, kw_only=True)
class Rest:
    """After how long without a request it sleeps, how long a request waits for it to be up again, and how many may.

    `is_entry`: those that wait are for what is simulated, and not for the transformer before it.
    """

    idle_s: float
    patience_s: float
    most_held: int
    is_entry: bool = True


class Doorway:
    """Requests that wait for an instance."""

    def __init__(self, rest: Rest, instances: Instances) -> None:
        self._rest = rest
        self._instances = instances
        self._held: deque[float] = deque()
        self._awake_since_s = self._used_s = self._looked_s = self._now_s = 0.0

    def count(self) -> int:
        """How many wait."""
        return len(self._held)

    @property
    def load(self) -> int:
        """Those among them that are load of what is simulated, as the gateway tells the operator."""
        return len(self._held) if self._rest.is_entry else 0

    @property
    def next_s(self) -> float:
        """When somebody may go who waits, or has waited for too long."""
        if not self._held:
            return float("inf")
        return min(self._instances.find_ready_s(self._now_s), self._held[0] + self._rest.patience_s)

    def take(self, now_s: float) -> bool:
        """A request comes; whether it has to wake somebody."""
        self._now_s = self._used_s = now_s
        if not self._held and self._instances.list_ready(now_s):
            self._instances.take(now_s)
            return False
        if len(self._held) >= self._rest.most_held:
            self._instances.end(now_s, now_s, HELD_FULL)
        else:
            self._held.append(now_s)
        if self._instances.wanted:
            return False
        self._awake_since_s = now_s
        return True

    def open(self, now_s: float) -> None:
        """Let go as many as there is room for, and end those that have waited for too long."""
        self._now_s = self._used_s = now_s
        while self._held and self._held[0] + self._rest.patience_s <= now_s:
            self._instances.end(self._held.popleft(), now_s, HELD_LATE)
        for _ in range(min(len(self._held), self._instances.count_room(now_s))):
            self._instances.take(now_s, came_s=self._held.popleft())

    def is_idle(self, now_s: float) -> bool:
        """Whether it is to fall asleep now."""
        if now_s - self._looked_s < choose_period_s([self._rest.idle_s]):
            return False
        self._looked_s = now_s
        is_busy = self._held or any(each.load for each in self._instances.present)
        # What starts isn't up, and what isn't up doesn't sleep.
        is_up = len(self._instances.list_ready(now_s)) == self._instances.wanted > 0
        vigil = Vigil(since_s=self._awake_since_s, idle_s=self._rest.idle_s)
        return is_up and is_idle([0.0 if is_busy else now_s - self._used_s], vigil, now_s=now_s)
