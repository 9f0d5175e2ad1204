"""How far a rollout is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from forebay.rollout.analysis.verdict import Verdict


class Phase(StrEnum):
    """What a rollout does, or waits for: see api/status.RolloutStatus."""

    STARTING = "Starting"
    HOLDING = "Holding"
    ENDING = "Ending"
    ROUTING = "Routing"
    RUNNING = "Running"
    WAITING = "Waiting"
    ANALYZING = "Analyzing"
    PAUSED = "Paused"
    UNREADY = "Unready"
    DOWN = "Down"
    ABORTED = "Aborted"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A rollout's step, from 1 (0 is before the first), and the share that its revision is to have, or copies of.

    `since_s` is when the gateway gave it that share; None is not yet. `until_s` is when the next step is due, where a
    time is set. `held_s` is since when requests are held; None is not at all. `instances` are those that the workloads
    had that serve, and have to come back with. `verdict` is that of the step's analysis, where there is one, `attempt`
    the number of this attempt, `falls` how often its revision went down in the step, `partial_falls` how often a lesser
    part of its instances did, and `message` says why one failed.
    """

    revision: str
    phase: Phase
    step: int = 0
    weight_pct: int = 0
    shadow_pct: int = 0
    since_s: float | None = None
    until_s: float | None = None
    held_s: float | None = None
    instances: Mapping[str, int] = field(default_factory=dict)
    verdict: Verdict | None = None
    attempt: int = 1
    falls: int = 0
    partial_falls: int = 0
    message: str = ""

    @property
    def is_live(self) -> bool:
        """Whether its revision is still to take over: it can be asked by itself, as soon as it has instances."""
        return self.phase not in (Phase.ABORTED, Phase.FAILED)
