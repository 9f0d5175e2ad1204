"""That something else is served than what the spec says: in the status, in words, and as an Event."""

from collections.abc import Iterator, Mapping
from typing import Any

from forebay.api.status import RollbackStatus
from forebay.observation import Observation, Reason, Trouble
from forebay.status.conditions import Finding, find, find_previous
from forebay.status.events import Event

ROLLED_BACK = "RolledBack"


def build_rollback(observation: Observation) -> RollbackStatus | None:
    """As the status tells of it."""
    rolled_back = observation.rolled_back
    return RollbackStatus(unwanted=rolled_back.before, to=rolled_back.after) if rolled_back else None


def find_rollback(observation: Observation) -> Iterator[Finding]:
    """The condition that there is only then."""
    if observation.rolled_back:
        yield find(ROLLED_BACK, True, Trouble(reason=Reason.ROLLED_BACK, message=_describe(observation)))


def append_rollback(observation: Observation) -> str:
    """What is added to a sentence on who serves."""
    return f"; {_describe(observation)}" if observation.rolled_back else ""


def tell_rollback(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[Event]:
    """The Events of a rollback: that it is in force. That another revision serves is told elsewhere."""
    said = str(find_previous(current, ROLLED_BACK).get("message", ""))
    if said and previous.get("rollback") != current.get("rollback"):
        yield Event(type="Normal", reason=Reason.ROLLED_BACK, message=said, action="Rollout")


def _describe(observation: Observation) -> str:
    rolled_back = observation.rolled_back
    if rolled_back is None:
        return ""
    before, after = (_title(observation, each) for each in (rolled_back.before, rolled_back.after))
    return f"rolled back from {before} to {after} by spec.rollout.rollback: change the spec to go on"


def _title(observation: Observation, revision: str) -> str:
    number = observation.numbers.get(revision)
    return f"r{number} ({revision})" if number else revision
