"""What a rollout is decided from, and what is decided."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from forebay.plan.strategy import Strategy
from forebay.rollout.analysis.verdict import Verdict
from forebay.rollout.progress import Progress


@dataclass(frozen=True, kw_only=True)
class RevisionState:
    """A revision by the names of its workloads, the entry last."""

    name: str
    workloads: tuple[str, ...]

    @property
    def entry(self) -> str:
        """The workload that the gateway sends requests to."""
        return self.workloads[-1]


@dataclass(frozen=True, kw_only=True)
class WorkloadState:
    """The instances of one workload: how many are wanted, are ready, were found, and aren't ready after a crash.

    Unless it `is_current`, the latter isn't known of what is wanted now.
    """

    wanted: int
    ready: int
    crashed: int = 0
    found: int = 0
    is_current: bool = True

    @property
    def is_up(self) -> bool:
        """Whether all that are wanted are ready."""
        return 0 < self.wanted <= self.ready

    @property
    def is_gone(self) -> bool:
        """Whether there are none, and none will be."""
        return self.is_current and not self.wanted and not self.found

    @property
    def is_down(self) -> bool:
        """Whether one that was up is so no more. One that is to have more instances, or lost a node, is not down."""
        return bool(self.crashed) or (self.is_current and not self.ready)


_NOT_THERE = WorkloadState(wanted=0, ready=0)


@dataclass(frozen=True, kw_only=True)
class GatewayState:
    """What the gateway does for one ModelDeployment.

    `pods` are those of the gateway, `answered` those that told what they route. `routed` are the entry workloads that
    any of them routes to, and the fewest endpoints that one of them knows; `weights_pct` the least shares that one of
    them gives these. `instances` are the fewest that one of them may send requests to, of whatever revision.
    `generation` is the oldest spec whose access and timeouts are live. `held_s` is since when all of them hold
    requests, `held_by_any_s` since when one of them does. `shadowed_pct` are the workloads that get copies in all of
    them, and the least share; `shadow_problem` is why nobody does. `fallback_problem` is why nobody answers for it, and
    `fallback_note` what its fallback doesn't answer. `pending`: that was before the last change, and they are being
    asked again.
    """

    pods: int = 0
    answered: int = 0
    routed: Mapping[str, int]
    weights_pct: Mapping[str, int] = field(default_factory=dict)
    instances: int = 0
    generation: int = 0
    error: str = ""
    pending: bool = False
    held_s: float | None = None
    held_by_any_s: float | None = None
    shadowed_pct: Mapping[str, int] = field(default_factory=dict)
    shadow_problem: str = ""
    fallback_problem: str = ""
    fallback_note: str = ""

    @property
    def is_absent(self) -> bool:
        """Whether there is no pod of it, which nobody has to wait for."""
        return not self.pods and not self.pending

    @property
    def is_known(self) -> bool:
        """Whether all gateway pods told what they route now."""
        return self.answered == self.pods > 0 and not self.pending


@dataclass(frozen=True, kw_only=True)
class Warm:
    """A revision that served until another took over, at `since_s`: its instances are kept for a while."""

    revision: RevisionState
    since_s: float


@dataclass(frozen=True, kw_only=True)
class RolloutState:
    """Everything that a decision is made from. `active` is what got the traffic last; None is nothing yet.

    `warm` is what served before that. `suspended`: nobody is to run. `progress` is how far the rollout was, and
    `generation` the spec that is looked at. `pods` are those of each workload that aren't over, deleted ones as well,
    and `transformers` those of each transformer.
    `verdict` is what the requests of its present step say, where there is an analysis; None is nothing yet.
    """

    target: RevisionState
    active: RevisionState | None
    workloads: Mapping[str, WorkloadState]
    gateway: GatewayState
    warm: Warm | None = None
    suspended: bool = False
    strategy: Strategy = field(default_factory=Strategy)
    progress: Progress | None = None
    pods: Mapping[str, int] = field(default_factory=dict)
    transformers: Mapping[str, int] = field(default_factory=dict)
    verdict: Verdict | None = None
    generation: int = 0
    now_s: float = 0.0

    def find(self, name: str) -> WorkloadState:
        """The instances of a workload; none where it isn't there."""
        return self.workloads.get(name, _NOT_THERE)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Who gets the traffic, and which workloads stay. `active` None: nobody is ready yet.

    `progress` is of the rollout from `active` to `target`, where there are steps, or somebody holds or aborted it.
    `ended` are workloads that are to have no instances, `restored` those that are to have some again. `warm` is
    kept till `warm_until_s`.
    """

    active: RevisionState | None
    keep: frozenset[str]
    target: RevisionState | None = None
    progress: Progress | None = None
    ended: frozenset[str] = frozenset()
    restored: Mapping[str, int] = field(default_factory=dict)
    warm: Warm | None = None
    warm_until_s: float = math.inf

    @property
    def preview(self) -> RevisionState | None:
        """Who is to take over, and can be asked by itself before."""
        return self.target if self.progress and self.progress.is_live else None

    @property
    def unscaled(self) -> frozenset[str]:
        """Workloads that are kept as they are: nobody who looks at their load is to take instances from them."""
        revisions = [each for each in (self.active, self.target) if each]
        used = {name for each in revisions for name in each.workloads}
        return frozenset(self.warm.revision.workloads if self.warm else ()) - used

    @property
    def shares_pct(self) -> tuple[tuple[RevisionState, int], ...]:
        """Who gets which share of the requests, `active` first."""
        if self.active is None:
            return ()
        weight_pct = self.progress.weight_pct if self.progress else 0
        if self.target is None or not weight_pct:
            return ((self.active, 100),)
        return ((self.active, 100 - weight_pct), (self.target, weight_pct))
