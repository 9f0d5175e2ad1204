"""Whether a ModelDeployment is ready: an ordered list of checks, of which the first that finds something is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from forebay.api.status import ConditionStatus
from forebay.observation import Observation, Reason, Trouble
from forebay.plan.names import WORKLOAD_LABEL
from forebay.status.components import Part, choose

_SAID = {
    "Downloading": (Reason.DOWNLOADING, "the model is being downloaded"),
    "Installing": (Reason.INSTALLING, "the script and its libraries are being fetched"),
    "Loading": (Reason.LOADING, "the model is being loaded"),
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`trouble` None is ready. `is_failure` tells what went wrong from what only takes its time."""

    trouble: Trouble | None
    is_failure: bool = False

    @property
    def stalled(self) -> bool:
        """Whether waiting won't help."""
        return self.trouble is not None and self.trouble.stalled


def judge(observation: Observation, parts: Sequence[Part]) -> Verdict:
    """What keeps the ModelDeployment from being ready."""
    found = [*observation.troubles, *(part.trouble for part in parts if part.trouble)]
    if trouble := choose(found):
        return Verdict(trouble=trouble, is_failure=trouble.reason is not Reason.STARTING)
    for check in (_check_whole, _check_decision, _check_gateway, _check_access, _check_routes):
        if trouble := check(observation, parts):
            is_failure = trouble.reason in (Reason.ACCESS_NOT_READY, Reason.GATEWAY_NOT_READY)
            return Verdict(trouble=trouble, is_failure=is_failure)
    return Verdict(trouble=None)


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


def check_traffic(observation: Observation) -> tuple[ConditionStatus, Trouble]:
    """Whether requests are answered, as a condition's status and its reason: by the revision that has the traffic, or,
    where a gateway has yet to hear of that, by the one before.
    """
    active, gateway = observation.decision.active, observation.gateway
    if active is None:
        return "False", Trouble(reason=Reason.STARTING, message="no revision has served yet")
    if not gateway.answered:
        return ("Unknown" if gateway.pods or gateway.pending else "False"), _describe_gateway(observation)
    if gateway.instances < 1:
        message = f"no instance of revision {active.name} takes requests"
        return "False", Trouble(reason=Reason.ROUTING, message=message)
    if gateway.pending or gateway.routed.get(active.entry, 0) < 1:
        return "True", Trouble(reason=Reason.READY, message=f"requests are answered; revision {active.name} takes over")
    return "True", Trouble(reason=Reason.READY, message=f"revision {active.name} answers requests")


def _check_whole(_: Observation, parts: Sequence[Part]) -> Trouble | None:
    return next((trouble for part in parts if (trouble := describe_part(part))), None)


def _check_decision(observation: Observation, _: Sequence[Part]) -> Trouble | None:
    active = observation.decision.active
    if active is not None and active.name == observation.target.name:
        return None
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
    if gateway.routed.get(entry, 0) < 1:
        return Trouble(reason=Reason.ROUTING, message="the gateway is about to route to its instances")
    if gateway.routed.keys() != {entry}:
        return Trouble(reason=Reason.ROUTING, message="the gateway is about to let go of the revision before")
    return None
