"""Whether a ModelDeployment sleeps, since when, and whether it is on its way back.

Ready and Available tell whether requests are answered. While it sleeps they are, after a start: so both stay True, and
so they do while the instances start, for as long as a request may wait for them. Whoever waits for Ready isn't woken up
by a healthy cold start; one that fails, or takes longer, is told as what it is. The components' conditions tell of
instances, of which there are none.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from forebay.observation import Observation, Reason, Trouble
from forebay.plan.resolve import Serving
from forebay.plan.units import format_duration
from forebay.rollout.state import RevisionState
from forebay.status.conditions import ASLEEP, READY, Finding, find_previous

# These pass as soon as a cluster has brought another node.
_PATIENT = frozenset({Reason.UNSCHEDULABLE, Reason.WAITING_FOR_GPU})
# What ends is looked at when it has ended for sure.
_AFTER_S = 1.0
_SLEPT = (Reason.ASLEEP, Reason.WAKING)


def is_asleep(observation: Observation, revision: RevisionState | None) -> bool:
    """Whether no instance of a revision is to run until a request comes."""
    if revision is None or not observation.serving.idle_s or observation.serving.suspended:
        return False
    found = [observation.deployments.get(name) for name in revision.workloads]
    return all(each is not None and each["spec"].get("replicas", 1) == 0 for each in found)


def is_target_asleep(observation: Observation) -> bool:
    """Whether what the spec asks for serves, and sleeps."""
    active = observation.decision.active
    return active is not None and active.name == observation.target.name and is_asleep(observation, active)


def describe_sleep(observation: Observation) -> Trouble:
    """That it sleeps, and what wakes it."""
    idle = format_duration(observation.serving.idle_s)
    return Trouble(reason=Reason.ASLEEP, message=f"asleep since no request came for {idle}: the next one wakes it")


def describe_waking(said: Trouble) -> Trouble:
    """That it is on its way back, by what it waits for."""
    return replace(said, reason=Reason.WAKING, message=f"woken, and requests wait for it: {said.message}")


def is_waking(observation: Observation, previous: Mapping[str, Any], now: datetime, type_: str = READY) -> bool:
    """Whether it was asleep and hasn't been up since, for no longer than a request may wait, as a condition says."""
    before, woken = find_previous(previous, type_), find_previous(previous, ASLEEP)
    if not observation.serving.idle_s or observation.serving.suspended or before.get("reason") not in _SLEPT:
        return False
    # One whose time hasn't begun hasn't been told yet.
    return woken.get("status") == "True" or _measure_left_s(observation.serving, woken, now) > 0


def measure_patience_s(serving: Serving, status: Mapping[str, Any], now: datetime) -> float:
    """Until a start that isn't over is told as what it is; infinite where there is none."""
    if find_previous(status, READY).get("reason") != Reason.WAKING:
        return math.inf
    return max(0.0, _measure_left_s(serving, find_previous(status, ASLEEP), now)) + _AFTER_S


def _measure_left_s(serving: Serving, woken: Mapping[str, Any], now: datetime) -> float:
    since = datetime.fromisoformat(woken["lastTransitionTime"]) if woken else now
    return serving.cold_start_s - (now - since).total_seconds()


def is_passing(trouble: Trouble, *, is_failure: bool) -> bool:
    """Whether what keeps it from being up belongs to a start that goes well."""
    return not trouble.stalled and (not is_failure or trouble.reason in _PATIENT)


def find_sleep(observation: Observation) -> list[Finding]:
    """The condition, of what may sleep alone: since when it is asleep or awake tells its time."""
    serving = observation.serving
    if not serving.idle_s:
        return []
    if serving.suspended:
        return [Finding(type=ASLEEP, status="False", reason=Reason.SUSPENDED, message="suspended: nothing wakes it")]
    if is_asleep(observation, observation.decision.active):
        said = describe_sleep(observation)
        return [Finding(type=ASLEEP, status="True", reason=said.reason, message=said.message)]
    message = f"it falls asleep when no request has come for {format_duration(serving.idle_s)}"
    return [Finding(type=ASLEEP, status="False", reason=Reason.AWAKE, message=message)]
