"""What is said of a ModelDeployment that serves something else than its spec says."""

from dataclasses import replace

from forebay.observation import RolledBack
from forebay.status import summarize, tell_rollback
from tests.unit.status.scene import LATER, NOW, UNKNOWN, Scene, get_condition


def test_it_is_told_once_and_with_its_numbers() -> None:
    found = Scene().observe()
    name = found.target.name
    plain = summarize(found, UNKNOWN, NOW)
    assert not {"rollback", "activeNumber", "targetNumber"} & plain.keys()
    observation = replace(
        found, rolled_back=RolledBack(before="0badcafe", after=name), numbers={name: 3, "0badcafe": 2}
    )
    status = summarize(observation, plain, NOW)
    words = f"rolled back from r2 (0badcafe) to r3 ({name}) by spec.rollout.rollback: change the spec to go on"
    assert status["rollback"] == {"from": "0badcafe", "to": name}
    assert (status["activeNumber"], status["targetNumber"]) == (3, 3)
    assert get_condition(status, "RolledBack")["message"] == words
    assert get_condition(status, "Ready")["message"].endswith(words)
    (event,) = tell_rollback(plain, status)
    assert (event.reason, event.message) == ("RolledBack", words)
    assert summarize(observation, status, LATER) == status
    assert not [*tell_rollback(status, status)]
    after = summarize(found, status, LATER)
    assert not [*tell_rollback(status, after)]
    assert "RolledBack" not in [each["type"] for each in after["conditions"]]


def test_a_revision_that_is_not_kept_has_no_number() -> None:
    observation = replace(Scene().observe(), rolled_back=RolledBack(before="0badcafe", after="0a1b2c3d"))
    message = get_condition(summarize(observation, UNKNOWN, NOW), "RolledBack")["message"]
    assert message.startswith("rolled back from 0badcafe to 0a1b2c3d by")
