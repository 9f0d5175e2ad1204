"""What is said while one revision takes the place of another, and requests are held meanwhile."""

from datetime import datetime

from forebay.observation import Observation, Reason, Trouble
from forebay.plan.strategy import Way
from forebay.rollout.progress import Phase, Progress

_DONE = "requests wait; "


def describe_hold(observation: Observation, now: datetime) -> Trouble | None:
    """That requests wait, and none has waited for too long yet. The gateway may hold them on when all is over."""
    progress = observation.decision.progress
    held_s = progress.held_s if progress else observation.gateway.held_by_any_s
    if held_s is None or now.timestamp() >= held_s + observation.serving.strategy.hold_s:
        return None
    message = f"requests wait while the instances of revision {observation.target.name} take the place of others"
    return Trouble(reason=Reason.ROLLING_OUT, message=message)


def explain_replacement(observation: Observation, progress: Progress, doubt: str) -> str:
    """How far it is."""
    active = observation.decision.active
    before = active.name if active else "the revision before"
    return {
        Phase.HOLDING: f"the gateway is about to hold the requests{doubt}",
        Phase.ENDING: f"{_DONE}the instances of {before} end first",
        Phase.STARTING: f"{_DONE}its instances are being started",
        Phase.ROUTING: f"{_DONE}all its instances are ready, and the gateway is about to lead them there{doubt}",
    }[progress.phase]


def advise_room(observation: Observation, trouble: Trouble) -> str:
    """What helps one whose GPUs those have that serve."""
    active, strategy = observation.decision.active, observation.serving.strategy
    is_beside = active is not None and active.name != observation.target.name and strategy.way is not Way.RECREATE
    if trouble.reason is not Reason.WAITING_FOR_GPU or not is_beside:
        return ""
    return "; `rollout: {recreate: {}}` ends the instances of the revision before first, and holds requests meanwhile"
