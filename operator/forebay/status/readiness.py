"""Whether a ModelDeployment is ready: an ordered list of checks, of which the first that finds something is told."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from forebay.api.status import ConditionStatus
from forebay.observation import Observation, Reason, Trouble
from forebay.plan.names import WORKLOAD_LABEL
from forebay.rollout.state import RevisionState
from forebay.status.components import Part, choose
from forebay.status.replacement import advise_room
from forebay.status.rollout import describe_rollout, find_end
from forebay.status.sleep import (
    describe_sleep,
    describe_waking,
    is_asleep,
    is_passing,
    is_target_asleep,
    is_waking,
)

Check = Callable[[Observation, Sequence[Part]], Trouble | None]
_SAID = {
    "Downloading": (Reason.DOWNLOADING, "the model is being downloaded"),
    "Installing": (Reason.INSTALLING, "the script and its libraries are being fetched"),
    "Loading": (Reason.LOADING, "the model is being loaded"),
}

SUSPENDED = Trouble(
    reason=Reason.SUSPENDED, message="no instance runs, and requests are refused, until spec.suspend is false"
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`trouble` None is ready. `is_failure` tells what went wrong from what only takes its time.

    `is_at_rest`: it isn't ready, as somebody wants it, and nothing is to be waited for. `said` is what is told of one
    that is ready, but has no instances right now.
    """

    trouble: Trouble | None
    said: Trouble | None = None
    is_failure: bool = False
    is_at_rest: bool = False

    @property
    def stalled(self) -> bool:
        """Whether waiting won't help."""
        return self.trouble is not None and self.trouble.stalled


def judge(observation: Observation, parts: Sequence[Part], previous: Mapping[str, Any], now: datetime) -> Verdict:
    """What keeps the ModelDeployment from being ready."""
    if observation.unusable:
        return Verdict(trouble=observation.unusable.trouble, is_failure=True)
    if observation.serving.suspended and not observation.troubles:
        return _judge_suspended(observation, parts)
    if (end := find_end(observation)) and not observation.troubles:
        return Verdict(trouble=end, is_failure=True)
    if is_target_asleep(observation) and not observation.troubles:
        return _run_checks(observation, parts, _ROUTED) or Verdict(trouble=None, said=describe_sleep(observation))
    verdict = _judge_awake(observation, parts)
    wakes = _check_decision(observation, parts) is None and is_waking(observation, previous, now)
    if wakes and verdict.trouble and is_passing(verdict.trouble, is_failure=verdict.is_failure):
        return Verdict(trouble=None, said=describe_waking(verdict.trouble))
    return verdict


def _judge_awake(observation: Observation, parts: Sequence[Part]) -> Verdict:
    found = [*observation.troubles, *(part.trouble for part in parts if part.trouble)]
    if trouble := choose(found):
        trouble = replace(trouble, message=f"{trouble.message}{advise_room(observation, trouble)}")
        return Verdict(trouble=trouble, is_failure=trouble.reason is not Reason.STARTING)
    checks = (_check_step, _check_whole, _check_decision, *_ROUTED)
    return _run_checks(observation, parts, checks) or Verdict(trouble=None)


def _run_checks(observation: Observation, parts: Sequence[Part], checks: Iterable[Check]) -> Verdict | None:
    for check in checks:
        if trouble := check(observation, parts):
            is_failure = trouble.reason in (Reason.ACCESS_NOT_READY, Reason.GATEWAY_NOT_READY)
            return Verdict(trouble=trouble, is_failure=is_failure)
    return None


def _judge_suspended(observation: Observation, parts: Sequence[Part]) -> Verdict:
    gateway = observation.gateway
    refuses = gateway.is_known and gateway.generation >= observation.generation and not gateway.routed
    is_at_rest = refuses and not any(part.found or part.wanted for part in parts)
    return Verdict(trouble=SUSPENDED, is_at_rest=is_at_rest)


def describe_part(part: Part) -> Trouble | None:
    """What keeps a component from being up: what is wrong with it, or how far it is."""
    if part.is_up:
        return None
    if part.trouble:
        return part.trouble
    if part.is_told and part.wanted == 0:
        return Trouble(reason=Reason.STARTING, message=f"{part.role}: Deployment {part.planned.name} is scaled to 0")
    # Why a volume can't be mounted, for one, is in no pod's status.
    pods = f"kubectl describe pods -n {part.planned.workload.namespace} -l {WORKLOAD_LABEL}={part.planned.name}"
    starting = (Reason.STARTING, f"pods are being started; if that takes long, `{pods}` says why")
    reason, said = _SAID.get(part.model.state, starting)
    return Trouble(reason=reason, message=f"{part.role}: {said}")


def check_traffic(observation: Observation, *, waking: bool) -> tuple[ConditionStatus, Trouble]:
    """Whether requests are answered, as a condition's status and its reason: by the revision that has the traffic, or,
    where a gateway has yet to hear of that, by the one before. Of one that is asleep or `waking`, after its start.
    """
    active, gateway = observation.decision.active, observation.gateway
    if observation.serving.suspended:
        return "False", SUSPENDED
    if active is None:
        return "False", Trouble(reason=Reason.STARTING, message="no revision has served yet")
    if not gateway.answered:
        return ("Unknown" if gateway.pods or gateway.pending else "False"), _describe_gateway(observation)
    if (rest := _describe_absence(observation, active, waking=waking)) is not None:
        return rest
    if gateway.pending or gateway.routed.get(active.entry, 0) < 1:
        return "True", Trouble(reason=Reason.READY, message=f"requests are answered; revision {active.name} takes over")
    return "True", Trouble(reason=Reason.READY, message=f"revision {active.name} answers requests")


def _describe_absence(
    observation: Observation, active: RevisionState, *, waking: bool
) -> tuple[ConditionStatus, Trouble] | None:
    """What becomes of requests while nobody takes them."""
    gateway = observation.gateway
    if active.entry in gateway.routed and is_asleep(observation, active):
        return "True", describe_sleep(observation)
    if gateway.instances >= 1:
        return None
    if waking:
        return "True", Trouble(reason=Reason.WAKING, message=f"requests wait for revision {active.name} to start")
    return "False", Trouble(reason=Reason.ROUTING, message=f"no instance of revision {active.name} takes requests")


def _check_step(observation: Observation, _: Sequence[Part]) -> Trouble | None:
    return describe_rollout(observation, whole=False)


def _check_whole(_: Observation, parts: Sequence[Part]) -> Trouble | None:
    return next((trouble for part in parts if (trouble := describe_part(part))), None)


def _check_decision(observation: Observation, _: Sequence[Part]) -> Trouble | None:
    active = observation.decision.active
    if active is not None and active.name == observation.target.name:
        return None
    if step := describe_rollout(observation, whole=True):
        return step
    return Trouble(reason=Reason.ROLLING_OUT, message="all its instances are ready, it takes over now")


def _check_gateway(observation: Observation, _: Sequence[Part]) -> Trouble | None:
    return None if observation.gateway.is_known else _describe_gateway(observation)


def _describe_gateway(observation: Observation) -> Trouble:
    if observation.gateway.pending:
        return Trouble(reason=Reason.ROUTING, message="the gateway is about to take over what changed")
    if not observation.gateway.pods:
        message = "no pod of the gateway is ready: look at its Deployment, in the operator's namespace"
    else:
        message = "not every pod of the gateway tells what it routes: it serves as it was told last"
    return Trouble(reason=Reason.GATEWAY_NOT_READY, message=message)


def _check_access(observation: Observation, _: Sequence[Part]) -> Trouble | None:
    error = observation.gateway.error
    return Trouble(reason=Reason.ACCESS_NOT_READY, message=error) if error else None


def _check_routes(observation: Observation, _: Sequence[Part]) -> Trouble | None:
    gateway, entry = observation.gateway, observation.target.entry.name
    if gateway.generation < observation.generation:
        return Trouble(reason=Reason.ROUTING, message="the gateway takes over the new access and timeouts")
    least = 0 if is_target_asleep(observation) else 1
    if gateway.routed.get(entry, -1) < least:
        return Trouble(reason=Reason.ROUTING, message="the gateway is about to route to its instances")
    if gateway.routed.keys() != {entry}:
        return Trouble(reason=Reason.ROUTING, message="the gateway is about to let go of the revision before")
    return None


# What is asked of the gateway, of instances that are up, or of none that are asleep.
_ROUTED: tuple[Check, ...] = (_check_gateway, _check_access, _check_routes)
