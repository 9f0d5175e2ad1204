"""What is told of a drill while it lasts."""

from datetime import timedelta

from forebay.status import measure_drill_s, tell_events
from tests.unit.status.scene import MANIFEST, NOW, Scene, get_condition, told

END = NOW + timedelta(minutes=1)
DRILL = f"""  drill:
    fault: PredictorDown
    revision: 0badcafe
    since: "{NOW:%Y-%m-%dT%H:%M:%SZ}"
    until: "{END:%Y-%m-%dT%H:%M:%SZ}"
"""


def types(status: dict) -> set[str]:
    return {each["type"] for each in status["conditions"]}


def test_it_is_told_until_it_is_over():
    scene = Scene(MANIFEST + DRILL)
    before = scene.summarize(now=NOW - timedelta(seconds=1))
    assert "Drill" not in types(before)
    status = scene.summarize(before, NOW)
    assert told(status, "Drill") == ("True", "Drill")
    assert "revision 0badcafe answers as if it had no instance" in get_condition(status, "Drill")["message"]
    assert told(status) == told(before), "it is as ready as before"
    assert scene.summarize(status, END - timedelta(seconds=1)) == status
    after = scene.summarize(status, END)
    assert "Drill" not in types(after)
    assert [each.reason for each in tell_events(before, status)] == ["DrillBegun"]
    assert [each.reason for each in tell_events(status, after)] == ["DrillEnded"]


def test_when_to_look_again():
    serving = Scene(MANIFEST + DRILL).observe().serving
    assert measure_drill_s(serving, NOW - timedelta(seconds=5)) == 5
    assert measure_drill_s(serving, NOW) == 60
    assert measure_drill_s(serving, END) == float("inf")
    assert measure_drill_s(Scene(MANIFEST).observe().serving, NOW) == float("inf")
