"""Why a workload has another number of instances, in the words of its Event."""

from typing import Any

import pytest

from forebay.controller.metrics import Metrics
from forebay.controller.panic import Floors
from forebay.controller.scale_events import ScaleEvents
from forebay.controller.world import World
from forebay.kube.holdings import Owner
from forebay.kube.rivals import Rival
from forebay.scaling.panic import Floor
from forebay.status.scale import Change, describe_stranger, explain, tell

Json = dict[str, Any]
UP = Change(component="predictor", workload="m", before=4, after=6)
DOWN = Change(component="predictor", workload="m", before=6, after=4)
QUEUE: Json = {"type": "Pods", "pods": {"metric": {"name": "forebay_queue"}, "target": {"averageValue": "4"}}}
OWNER = Owner("models", "digits")


def build_world() -> World:
    return World(lambda *_: None, lambda *_: None)


def build_autoscaler(metrics: list[Json], current: list[Json], *, desired: int = 6, version: int = 1) -> Json:
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "m", "namespace": "models", "uid": "1", "resourceVersion": str(version),
            "labels": {"app.kubernetes.io/component": "predictor"},
        },
        "spec": {"minReplicas": 1, "maxReplicas": 9, "metrics": metrics},
        "status": {"desiredReplicas": desired, "currentMetrics": current},
    }  # fmt: skip


def pods(value: str, name: str = "forebay_queue") -> Json:
    return {"type": "Pods", "pods": {"metric": {"name": name}, "current": {"averageValue": value}}}


CPU: Json = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 70}}}
CPU_NOW: Json = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 91}}}
TIME: Json = {
    "type": "Pods", "pods": {"metric": {"name": "forebay_queue_seconds"}, "target": {"averageValue": "200m"}},
}  # fmt: skip
ELSEWHERE: Json = {
    "type": "External", "external": {"metric": {"name": "kafka_lag"}, "target": {"type": "Value", "value": "1k"}},
}  # fmt: skip
LAG: Json = {"type": "External", "external": {"metric": {"name": "kafka_lag"}, "current": {"value": "5000"}}}


@pytest.mark.parametrize(
    ("metrics", "current", "text"),
    [
        ([QUEUE], [pods("5800m")], "5.8 requests at each, target 4"),
        ([QUEUE, CPU], [pods("4100m"), CPU_NOW], "cpu 91 %, target 70 %"),
        ([TIME], [pods("350m", "forebay_queue_seconds")], "0.35 s in the queue, target 0.2 s"),
        ([ELSEWHERE], [LAG], "kafka_lag 5e+03, target 1e+03"),
        ([QUEUE, CPU], [{"type": ""}, CPU_NOW], "cpu 91 %, target 70 %"),
        ([QUEUE], [], "its metrics"),
    ],
)
def test_what_the_autoscaler_saw(metrics: list[Json], current: list[Json], text: str) -> None:
    cause = explain(UP, build_autoscaler(metrics, current))
    assert cause
    assert tell(UP, cause).message == f"predictor: 4 → 6 instances: {text}"


def test_fewer_and_the_fewest() -> None:
    cause = explain(DOWN, build_autoscaler([QUEUE], [pods("1")], desired=4))
    assert cause
    assert (cause.decider, cause.text) == ("autoscaler", "1 requests at each, target 4")
    raised = build_autoscaler([QUEUE], [pods("1")]) | {"spec": {"minReplicas": 6, "metrics": [QUEUE]}}
    cause = explain(UP, raised)
    assert cause
    assert cause.text == "the fewest there may be"


def test_what_was_woken_does_not_wait_for_the_autoscaler() -> None:
    woken = build_autoscaler([QUEUE], [pods("1")], desired=1) | {"spec": {"minReplicas": 6, "metrics": [QUEUE]}}
    cause = explain(UP, woken)
    assert cause
    assert (cause.decider, cause.text) == ("autoscaler", "the fewest there may be")


def test_with_no_autoscaler_it_is_the_spec() -> None:
    cause = explain(UP, None)
    assert cause
    assert (cause.decider, cause.text) == ("spec", "spec.predictor.replicas")


def test_what_nobody_wanted() -> None:
    autoscaler = build_autoscaler([QUEUE], [pods("1")], desired=4)
    assert explain(UP, autoscaler) is None
    assert describe_stranger(autoscaler).text == "set by somebody else, where the autoscaler wants 4"


def told(before: int, after: int) -> tuple[Json, Json]:
    component = {"name": "predictor", "workload": "m", "readyReplicas": 1}
    first, second = ({"components": [{**component, "replicas": count}]} for count in (before, after))
    return first, second


def test_a_change_waits_for_the_autoscaler_to_tell_why() -> None:
    now_s, metrics = [0.0], Metrics()
    events = ScaleEvents(metrics, clock=lambda: now_s[0])
    world, none = build_world(), Floors(raised={}, spared={})
    now = {"m": build_autoscaler([QUEUE], [pods("1")], desired=4)}
    events.note(OWNER, *told(4, 6))
    assert events.collect(OWNER, world, none, now) == []
    assert events.delay_s(OWNER) < 5
    now = {"m": build_autoscaler([QUEUE], [pods("5800m")], version=2)}
    (event,) = events.collect(OWNER, world, none, now)
    assert event.message == "predictor: 4 → 6 instances: 5.8 requests at each, target 4"
    assert events.collect(OWNER, world, none, now) == [], "once"
    events.note(OWNER, *told(6, 7))
    now_s[0] = 4
    (event,) = events.collect(OWNER, world, none, now)
    assert event.message == "predictor: 6 → 7 instances: set by somebody else, where the autoscaler wants 6"
    found = metrics.registry.get_sample_value
    assert found("forebay_scalings_total", {"direction": "up", "decider": "autoscaler"}) == 1
    assert found("forebay_scalings_total", {"direction": "up", "decider": "somebody"}) == 1


def test_a_raised_floor_tells_why_itself() -> None:
    events = ScaleEvents(Metrics())
    floor = Floor(instances=6, until_s=1, reason="4 → 6: 9 requests at each, target 4")
    world = build_world()
    now = {"m": build_autoscaler([QUEUE], [pods("1")], desired=4)}
    events.note(OWNER, *told(4, 6))
    (event,) = events.collect(OWNER, world, Floors(raised={"m": floor}, spared={}), now)
    assert event.message == "predictor: 4 → 6 instances: 9 requests at each, target 4"


def test_an_autoscaler_of_somebody_else_is_told_once() -> None:
    events, world, none = ScaleEvents(Metrics()), build_world(), Floors(raised={}, spared={})
    labels = {"app.kubernetes.io/component": "predictor"}
    deployment = {
        "metadata": {"name": "m", "namespace": "models", "uid": "2", "resourceVersion": "1", "labels": labels}
    }
    world.children.put(OWNER, {"apiVersion": "apps/v1", "kind": "Deployment", **deployment})
    rival = Rival("models", "theirs", "m")
    follower = world.rivals.follow()
    follower.changed(True, rival)
    (event,) = events.collect(OWNER, world, none, {})
    assert (event.type, event.reason) == ("Warning", "AutoscalerConflict")
    assert "kubectl delete hpa theirs" in event.message
    assert events.collect(OWNER, world, none, {}) == []
    follower.listed([])
    assert events.collect(OWNER, world, none, {}) == []
    follower.changed(True, rival)
    assert len(events.collect(OWNER, world, none, {})) == 1, "it came back"


def test_a_change_that_another_overtook_is_told_too() -> None:
    events, world, none = ScaleEvents(Metrics()), build_world(), Floors(raised={}, spared={})
    now = {"m": build_autoscaler([QUEUE], [pods("1")], desired=4)}
    events.note(OWNER, *told(4, 6))
    assert events.collect(OWNER, world, none, now) == []
    events.note(OWNER, *told(6, 4))
    assert [each.message for each in events.collect(OWNER, world, none, now)] == [
        "predictor: 4 → 6 instances: set by somebody else, where the autoscaler wants 4",
        "predictor: 6 → 4 instances: 1 requests at each, target 4",
    ]
