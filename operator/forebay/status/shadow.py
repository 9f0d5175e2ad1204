"""Whether anybody gets copies of a ModelDeployment's requests that is to."""

from collections.abc import Iterator

from forebay.observation import Observation, Reason, Trouble
from forebay.status.conditions import Finding, find

SHADOW = "ShadowReady"


def find_shadow(observation: Observation) -> Iterator[Finding]:
    """The condition of one that has a shadow. What serves doesn't hang on it."""
    name, gateway, progress = observation.serving.shadow, observation.gateway, observation.decision.progress
    if not name:
        return
    if not gateway.is_known:
        unknown = f"the gateway doesn't tell whether {name} gets copies"
        yield Finding(type=SHADOW, status="Unknown", reason=Reason.GATEWAY_NOT_READY, message=unknown)
    elif progress and progress.shadow_pct:
        message = f"revision {progress.revision} gets the copies in this step of its rollout, and {name} none"
        yield find(SHADOW, True, Trouble(reason=Reason.READY, message=message))
    elif gateway.shadow_problem:
        message = f"nothing is compared: {gateway.shadow_problem}"
        yield find(SHADOW, False, Trouble(reason=Reason.SHADOW_MISSING, message=message))
    else:
        where = f"{observation.serving.name} -n {observation.serving.namespace}"
        message = f"{name} gets copies of requests: `forebay shadow {where}` tells how the answers compare"
        yield find(SHADOW, True, Trouble(reason=Reason.READY, message=message))
