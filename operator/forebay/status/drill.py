"""Whether a drill is going on: while one is, clients meet on purpose what they are not to meet."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from forebay.observation import Observation, Reason, Trouble
from forebay.plan.resolve import Serving
from forebay.status.conditions import Finding, find

DRILL = "Drill"
_WORDS = {
    "PredictorDown": "answers as if it had no instance",
    "Refusing": "answers as if all its queues were full",
    "Slow": "is late with each answer",
}


def find_drill(observation: Observation, now: datetime) -> Iterator[Finding]:
    """The condition while it lasts; afterwards there is none."""
    drill = observation.serving.drill
    if drill is None or not _read(drill.since) <= now < _read(drill.until):
        return
    message = f"until {drill.until} revision {drill.revision} {_WORDS[drill.fault]}: spec.drill wants it so"
    yield find(DRILL, True, Trouble(reason=Reason.DRILL, message=message))


def measure_drill_s(serving: Serving, now: datetime) -> float:
    """Seconds until a drill begins or ends; infinite where none will."""
    times = [_read(serving.drill.since), _read(serving.drill.until)] if serving.drill else []
    return min(((each - now).total_seconds() for each in times if each > now), default=math.inf)


def _read(time: str) -> datetime:
    return datetime.fromisoformat(time)


def describe_drill(status: Mapping[str, Any]) -> str:
    """What a status says of a drill that is going on; empty where none is."""
    conditions = status.get("conditions") or ()
    return next((str(each["message"]) for each in conditions if each["type"] == DRILL), "")
