"""What a rollout is decided from, and what is decided."""

from collections.abc import Mapping
from dataclasses import dataclass


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
    """The instances of one workload: how many are wanted, and how many are ready."""

    wanted: int
    ready: int

    @property
    def is_up(self) -> bool:
        """Whether all that are wanted are ready."""
        return 0 < self.wanted <= self.ready


@dataclass(frozen=True, kw_only=True)
class GatewayState:
    """What the gateway does for one ModelDeployment.

    `pods` are those of the gateway, `answered` those that told what they route. `routed` are the entry workloads that
    any of them routes to, and the fewest endpoints that one of them knows. `instances` are the fewest that one of them
    may send requests to, of whatever revision. `generation` is the oldest spec whose access and timeouts are live.
    `pending`: that was before the last change, and they are being asked again.
    """

    pods: int = 0
    answered: int = 0
    routed: Mapping[str, int]
    instances: int = 0
    generation: int = 0
    error: str = ""
    pending: bool = False

    @property
    def is_known(self) -> bool:
        """Whether all gateway pods told what they route now."""
        return self.answered == self.pods > 0 and not self.pending


@dataclass(frozen=True, kw_only=True)
class RolloutState:
    """Everything that a decision is made from. `active` is what got the traffic last; None is nothing yet."""

    target: RevisionState
    active: RevisionState | None
    workloads: Mapping[str, WorkloadState]
    gateway: GatewayState


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Who gets the traffic, and which workloads stay. `active` None: nobody is ready yet."""

    active: RevisionState | None
    keep: frozenset[str]
