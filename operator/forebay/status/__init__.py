"""The status of a ModelDeployment: pure, from what was observed to what people and their tools read."""

from forebay.status.drill import measure_drill_s
from forebay.status.events import Event, tell_events
from forebay.status.models import LogRequest, describe_model, needs_log, needs_watch, parse_progress
from forebay.status.notices import list_notices
from forebay.status.pods import check_pod
from forebay.status.rollback import tell_rollback
from forebay.status.rollout import tell_rollout
from forebay.status.sleep import measure_patience_s
from forebay.status.summary import is_settled, summarize, summarize_invalid
from forebay.status.versions import summarize_version

__all__ = [
    "Event",
    "LogRequest",
    "check_pod",
    "describe_model",
    "is_settled",
    "list_notices",
    "measure_drill_s",
    "measure_patience_s",
    "needs_log",
    "needs_watch",
    "parse_progress",
    "summarize",
    "summarize_invalid",
    "summarize_version",
    "tell_events",
    "tell_rollback",
    "tell_rollout",
]
