"""What webhooks are told: which Events are worth it, and in which form."""

from datetime import UTC, datetime
from typing import Any

import pytest

from forebay.api.notify import Notification
from forebay.status import Event
from forebay.status.notices import Notice, build_body, is_wanted, list_notices

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
STATUS: dict[str, Any] = {
    "targetRevision": "2222bbbb", "activeRevision": "1111aaaa",
    "rollout": {"revision": "2222bbbb", "phase": "Routing", "step": 1, "steps": 2, "weightPct": 10},
}  # fmt: skip


def event(reason: str, message: str = "said") -> Event:
    return Event(type="Normal", reason=reason, message=message, action="Rollout")


def notices(*reasons: str, message: str = "said") -> list[Notice]:
    return list_notices(("vision", "digits"), [event(each, message) for each in reasons], STATUS, NOW)


def notification(**fields: Any) -> Notification:
    return Notification.model_validate({"webhook": {"url": "https://hooks.test/x"}, **fields})


def test_the_events_of_a_rollout_are_told_and_no_others() -> None:
    told = {
        "RolledBack": "RolledBack", "RolloutStarted": "Started", "RolloutStep": "Step", "RolloutPaused": "Waiting",
        "TrafficSwitched": "Completed", "RolloutAborted": "Aborted", "RolloutFailed": "Failed",
    }  # fmt: skip
    assert [each.kind for each in notices("Ready", *told, "Scaled", "RolloutHalted")] == [*told.values()]


@pytest.mark.parametrize(("events", "wanted"), [([], True), (["Step", "Failed"], True), (["Completed"], False)])
def test_only_what_is_asked_for(events: list[str], wanted: bool) -> None:
    (notice,) = notices("RolloutStep")
    assert is_wanted(notification(events=events), notice) is wanted


def test_json_tells_all_of_it() -> None:
    (notice,) = notices("RolloutStep")
    assert build_body(notification(), notice) == {
        "kind": "Step", "namespace": "vision", "name": "digits", "revision": "2222bbbb", "activeRevision": "1111aaaa",
        "step": 1, "steps": 2, "weightPct": 10, "at": "2026-11-22T08:00:00Z", "message": "said",
    }  # fmt: skip


def test_slack_gets_a_text_with_no_markup_of_others() -> None:
    (notice,) = notices("RolloutAborted", message="<!channel> a & b")
    assert build_body(notification(format="Slack"), notice) == {
        "text": "*vision/digits* Aborted: &lt;!channel&gt; a &amp; b"
    }
