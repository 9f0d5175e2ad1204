"""Whether somebody stands ready to answer for a ModelDeployment that can't."""

from collections.abc import Iterator

from forebay.observation import Observation, Reason, Trouble
from forebay.status.conditions import Finding, find

FALLBACK = "FallbackReady"


def find_fallback(observation: Observation) -> Iterator[Finding]:
    """The condition of one that has a fallback. What serves doesn't hang on it."""
    fallback, gateway = observation.serving.fallback, observation.gateway
    if fallback is None:
        return
    if not gateway.is_known:
        unknown = "the gateway doesn't tell whether the fallback could answer"
        yield Finding(type=FALLBACK, status="Unknown", reason=Reason.GATEWAY_NOT_READY, message=unknown)
    elif gateway.fallback_problem:
        message = f"who can't be answered gets an error: {gateway.fallback_problem}"
        yield find(FALLBACK, False, Trouble(reason=Reason.FALLBACK_MISSING, message=message))
    else:
        who = f"{fallback.name} answers" if fallback.name else "a fixed answer is given"
        message = f"{who} where this one can't" + (f". {gateway.fallback_note}" if gateway.fallback_note else "")
        yield find(FALLBACK, True, Trouble(reason=Reason.READY, message=message))
