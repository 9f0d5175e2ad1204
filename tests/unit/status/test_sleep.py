"""What is told of something that sleeps, wakes, or can't."""

from datetime import timedelta
from typing import Any

import pytest

from forebay.observation import Reason, Trouble
from forebay.rollout.state import RevisionState
from forebay.status import is_settled, measure_patience_s, tell_events
from forebay.status.scale import find_changes, find_sleep
from tests.unit.status.scene import LATER, NOW, PODS, TRANSFORMER, UNKNOWN, Scene, get_condition, told

Json = dict[str, Any]
MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: digits, namespace: vision}
spec:
  model: {uri: "s3://models/digits"}
  predictor: {triton: {}, autoscaling: {min: 0, max: 4, idle: 1h30m, coldStart: {timeout: 2m}}}
"""
OLD = RevisionState(name="0badcafe", workloads=("digits-predictor-old",))
STOPPED: Json = {
    "metadata": {"name": "x", "namespace": "vision", "generation": 1},
    "spec": {"replicas": 0},
    "status": {},
}


def stop(scene: Scene) -> Scene:
    """It sleeps: its Deployments have no instance, and the gateway knows of none."""
    scene.deployments = {each.name: STOPPED for each in scene.target.workloads}
    scene.gateway = {"routed": {scene.target.entry.name: 0}}
    return scene


def start(**fields: Any) -> Scene:
    """It was woken, and none is ready."""
    scene = Scene(MANIFEST, ready={"predictor": 0}, **fields)
    scene.gateway = {"routed": {scene.target.entry.name: 0}}
    return scene


UP = Scene(MANIFEST).summarize()
ASLEEP = stop(Scene(MANIFEST)).summarize(UP, LATER)
WOKEN = LATER + timedelta(hours=2)
WAKING = start().summarize(ASLEEP, WOKEN)


def test_asleep_it_is_as_ready_as_before() -> None:
    for type_ in ("Ready", "Available"):
        assert told(ASLEEP, type_) == ("True", "Asleep")
        assert get_condition(ASLEEP, type_)["lastTransitionTime"] == get_condition(UP, type_)["lastTransitionTime"]
    assert get_condition(ASLEEP, "Ready")["message"] == "asleep since no request came for 1h30m: the next one wakes it"
    assert told(ASLEEP, "Progressing") == told(ASLEEP, "Stalled") == ("False", "Asleep")
    assert told(ASLEEP, "PredictorReady") == ("False", "Asleep")
    assert told(ASLEEP, "Autoscaling") == ("True", "Asleep")
    assert (ASLEEP["instances"], ASLEEP["components"][0]["model"]["state"]) == ("0/0", "Asleep")
    assert (ASLEEP["traffic"], ASLEEP["components"][0]["minReplicas"]) == (UP["traffic"], 0)
    assert is_settled(ASLEEP)
    assert stop(Scene(MANIFEST)).summarize(ASLEEP, WOKEN) == ASLEEP


def test_both_components_sleep() -> None:
    status = stop(Scene(MANIFEST + TRANSFORMER)).summarize(UP, LATER)
    assert [told(status, f"{each}Ready") for each in ("Predictor", "Transformer")] == [("False", "Asleep")] * 2


def test_pods_that_are_about_to_end_are_no_trouble() -> None:
    scene = stop(Scene(MANIFEST))
    for kind in PODS:
        scene.add_pod(kind)
    assert told(scene.summarize(UP, LATER)) == ("True", "Asleep")


@pytest.mark.parametrize(
    ("gateway", "reason", "traffic"),
    [
        ({"answered": 1}, "GatewayNotReady", "True"),
        ({"pods": 0, "answered": 0, "routed": {}}, "GatewayNotReady", "False"),
        ({"routed": {}}, "Routing", "False"),
        ({"error": "no Secret"}, "AccessNotReady", "True"),
        ({"generation": 2}, "Routing", "True"),
    ],
)
def test_nobody_wakes_it_without_the_gateway(gateway: Json, reason: str, traffic: str) -> None:
    scene = stop(Scene(MANIFEST))
    scene.gateway |= gateway
    status = scene.summarize(UP, LATER)
    assert told(status) == ("False", reason)
    assert told(status, "Available")[0] == traffic


def test_waking_it_stays_ready_for_as_long_as_a_request_waits() -> None:
    assert told(WAKING) == told(WAKING, "Available") == ("True", "Waking")
    assert get_condition(WAKING, "Ready")["message"].startswith("woken, and requests wait for it: predictor: ")
    assert told(WAKING, "Progressing") == ("True", "Waking")
    assert told(WAKING, "PredictorReady") == ("False", "Starting")
    assert get_condition(WAKING, "Asleep")["lastTransitionTime"] == "2026-11-21T20:00:00Z"
    assert not is_settled(WAKING)
    scene = start()
    serving = scene.observe().serving
    assert measure_patience_s(serving, WAKING, WOKEN) == 121
    assert measure_patience_s(serving, ASLEEP, WOKEN) == measure_patience_s(serving, UP, WOKEN) == float("inf")
    status = scene.summarize(WAKING, WOKEN + timedelta(seconds=119))
    assert told(status) == ("True", "Waking")
    late = scene.summarize(status, WOKEN + timedelta(seconds=121))
    assert told(late) == ("False", "Starting")
    assert told(late, "Available") == ("False", "Routing")
    assert told(scene.summarize(late, WOKEN), "Ready")[0] == "False", "it was told, and is over when it is up"
    assert told(Scene(MANIFEST).summarize(WAKING, WOKEN)) == ("True", "Ready")


def test_a_gateway_that_is_behind_tells_of_no_fall() -> None:
    """Woken as soon as it slept, its last instance is counted yet."""
    scene = start()
    scene.gateway = {"routed": {scene.target.entry.name: 1}}
    status = scene.summarize(ASLEEP, WOKEN)
    assert (told(status), told(status, "Available")) == (("True", "Waking"), ("True", "Ready"))
    assert told(start().summarize(status, WOKEN), "Available") == ("True", "Waking")


@pytest.mark.parametrize("kind", ["startup", "download-runs", "cpu", "gpu"])
def test_what_belongs_to_a_start_is_no_failure(kind: str) -> None:
    scene = start()
    scene.add_pod(kind)
    assert told(scene.summarize(WAKING, WOKEN)) == ("True", "Waking")


@pytest.mark.parametrize("kind", ["image-missing", "crash", "download-fails", "oom"])
def test_an_instance_that_fails_is_told_at_once(kind: str) -> None:
    scene = start()
    scene.add_pod(kind)
    status = scene.summarize(WAKING, WOKEN)
    assert told(status)[0] == told(status, "Available")[0] == "False"


def test_so_is_what_cannot_be_made() -> None:
    scene = start()
    scene.troubles = [Trouble(reason=Reason.QUOTA_EXCEEDED, message="no room")]
    status = scene.summarize(WAKING, WOKEN)
    assert told(status) == ("False", "QuotaExceeded")
    assert told(status, "Available")[0] == "False"


def test_what_never_slept_is_not_waking() -> None:
    assert told(start().summarize(UNKNOWN, NOW))[0] == "False"
    assert told(start().summarize(UP, LATER)) == ("False", "Starting")


def test_a_new_one_that_cannot_start_leaves_one_that_sleeps() -> None:
    scene = Scene(MANIFEST, active=OLD, ready={"predictor": 0}, deployments={OLD.workloads[0]: STOPPED})
    scene.gateway = {"routed": {OLD.entry: 0}}
    status = scene.summarize(ASLEEP, LATER)
    message = get_condition(status, "Ready")["message"]
    assert message.startswith("0badcafe is asleep, and the next request wakes it; ")
    assert told(status, "Available") == told(status, "Asleep") == ("True", "Asleep")
    assert [each["workload"] for each in status["traffic"]] == [OLD.entry]


def test_it_is_told_once_that_it_sleeps_and_that_it_was_woken() -> None:
    said = [(each.type, each.reason, each.message) for each in tell_events(UP, ASLEEP)]
    assert said == [("Normal", "Asleep", "asleep since no request came for 1h30m: the next one wakes it")]
    (woken,) = tell_events(ASLEEP, WAKING)
    assert (woken.type, woken.reason, woken.message) == ("Normal", "Woken", "woken by a request after 2h asleep")
    assert tell_events(WAKING, Scene(MANIFEST).summarize(WAKING, WOKEN)) == []
    (changed,) = tell_events(ASLEEP, WAKING | {"observedGeneration": 4})
    assert changed.message == "woken by a changed spec after 2h asleep"
    assert tell_events(UNKNOWN, stop(Scene(MANIFEST)).summarize())[-1].reason == "Asleep", "and not Ready, too"


def test_changes_to_nothing_and_back_are_told_by_that_alone() -> None:
    (down,), (up,) = find_changes(UP, ASLEEP), find_changes(ASLEEP, WAKING)
    assert (find_sleep(down, ASLEEP), find_sleep(up, WAKING)) == ("idle", "wake")
    assert find_sleep(down, UP) is None, "somebody else's doing"
    more = [each | {"replicas": 3} for each in UP["components"]]
    (change,) = find_changes(UP, UP | {"components": more})
    assert find_sleep(change, UP) is None
    (change,) = find_changes(WAKING, WAKING | {"components": more})
    assert find_sleep(change, WAKING) is None, "the load's doing"


def test_suspended_nothing_wakes_it() -> None:
    scene = stop(Scene(MANIFEST.replace("spec:", "spec:\n  suspend: true")))
    status = scene.summarize(ASLEEP, LATER)
    assert told(status, "Asleep") == ("False", "Suspended")
    assert told(status, "Available") == ("False", "Suspended")
    assert [each.reason for each in tell_events(ASLEEP, status)] == ["Suspended"]
