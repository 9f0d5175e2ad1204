"""What is told of a change, and that it is told once."""

from forebay.observation import Reason, Trouble
from forebay.rollout.state import RevisionState
from forebay.status import summarize_invalid, tell_events
from forebay.status.scale import find_changes
from tests.unit.status.scene import LATER, MANIFEST, TRANSFORMER, UNKNOWN, Scene


def test_a_first_rollout() -> None:
    new = Scene(is_active=False, ready={"predictor": 0})
    new.add_pod("download-runs")
    started = new.summarize()
    name = new.target.name
    assert tell_events(UNKNOWN, started) == []
    up = Scene().summarize(started, LATER)
    assert [(each.type, each.reason, each.message) for each in tell_events(started, up)] == [
        ("Normal", "TrafficSwitched", f"revision {name} serves"),
        ("Normal", "Ready", f"revision {name} is ready, and gets all requests"),
    ]
    assert tell_events(up, Scene().summarize(up, LATER)) == []


def test_progress_is_no_news() -> None:
    scene = Scene(is_active=False, ready={"predictor": 0})
    pod = scene.add_pod("download-runs")["metadata"]["name"]
    before = scene.summarize()
    for percent in (1, 50, 99):
        scene.downloaded_pct = {pod: percent}
        after = scene.summarize(before)
        assert tell_events(before, after) == []
        before = after
    scene.pods.clear()
    scene.add_pod("startup")
    assert tell_events(before, scene.summarize(before)) == []


def test_a_rollout_that_fails_and_is_mended() -> None:
    old = Scene()
    before = old.summarize()
    new = Scene(
        MANIFEST.replace("digits}", "digits, labels: {a: b}}").replace("s3://models/digits", "s3://models/other")
    )
    active = RevisionState(name=old.target.name, workloads=(old.target.entry.name,))
    new.active, new.ready = active, {"predictor": 0}
    new.add_pod("crash", "digits-1")
    failed = new.summarize(before, LATER)
    assert [(each.type, each.reason) for each in tell_events(before, failed)] == [
        ("Normal", "RolloutStarted"),
        ("Warning", "CrashLoop"),
    ]
    new.pods.clear()
    new.add_pod("crash later", "digits-1")
    assert tell_events(failed, new.summarize(failed, LATER)) == [], "the same once more"
    new.pods.clear()
    new.add_pod("oom", "digits-1")
    assert [each.reason for each in tell_events(failed, new.summarize(failed, LATER))] == ["OutOfMemory"]
    new.active, new.ready = None, {}
    assert [each.message for each in tell_events(failed, new.summarize(failed, LATER))] == [
        f"revision {new.target.name} takes over from {old.target.name}",
        f"revision {new.target.name} is ready, and gets all requests",
    ]


def test_a_rollout_that_is_taken_back() -> None:
    old = Scene()
    before = old.summarize()
    new = Scene(MANIFEST.replace("s3://models/digits", "s3://models/other"))
    new.active = RevisionState(name=old.target.name, workloads=(old.target.entry.name,))
    midway = new.summarize(before, LATER)
    told = tell_events(midway, old.summarize(midway, LATER))
    assert [each.message for each in told if each.action == "Rollout"] == [
        f"revision {new.target.name} is wanted no more: {old.target.name} serves on"
    ]


def test_scaling() -> None:
    scene = Scene(MANIFEST + TRANSFORMER)
    before = scene.summarize()
    deployment = scene.build_deployment(scene.target.entry)
    deployment["spec"]["replicas"] = 4
    scene.deployments = {scene.target.entry.name: deployment}
    after = scene.summarize(before, LATER)
    assert tell_events(before, after) == [], "another tells it, with its cause"
    (change,) = find_changes(before, after)
    assert (change.component, change.before, change.after, change.direction) == ("transformer", 1, 4, "up")


def test_a_spec_that_cannot_be_used() -> None:
    before = Scene().summarize()
    after = summarize_invalid(4, [Trouble(reason=Reason.INVALID_SPEC, message="no", stalled=True)], before, LATER)
    assert [(each.type, each.reason) for each in tell_events(before, after)] == [("Warning", "InvalidSpec")]
    assert tell_events(after, after) == []


def test_what_served_is_gone() -> None:
    before = Scene().summarize()
    after = Scene(is_active=False, ready={"predictor": 0}).summarize(before, LATER)
    assert [(each.type, each.reason) for each in tell_events(before, after)] == [("Warning", "TrafficStopped")]


def test_a_gateway_that_starts_is_told_only_to_those_who_wait_for_it() -> None:
    up, waits = Scene().summarize(), Scene(gateway={"answered": 1})
    assert tell_events(up, waits.summarize(up, LATER)) == []
    new = Scene(is_active=False, ready={"predictor": 0}, gateway={"routed": {}}).summarize()
    told = [each.reason for each in tell_events(new, waits.summarize(new, LATER))]
    assert told == ["TrafficSwitched", "GatewayNotReady"]


def test_a_registry_that_is_gone_and_comes_back() -> None:
    def build(is_resolved: bool, why: str) -> dict[str, object]:
        reason = "Resolved" if is_resolved else "ModelRegistryUnavailable"
        found = {"type": "ModelResolved", "status": str(is_resolved), "reason": reason, "message": why}
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "it is ready"}
        return {"conditions": [ready, found]}

    known, lost = build(True, "it is version 3"), build(False, "it can't be reached")
    assert [(each.type, each.reason) for each in tell_events(known, lost)] == [("Warning", "ModelRegistryUnavailable")]
    assert tell_events(lost, build(False, "it still can't be reached")) == []
    assert [(each.type, each.reason) for each in tell_events(lost, known)] == [("Normal", "Resolved")]
    assert tell_events({}, known) == [each for each in tell_events({}, known) if each.reason != "Resolved"]
