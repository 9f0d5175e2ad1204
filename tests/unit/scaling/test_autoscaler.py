"""What Kubernetes' autoscaler would do; tests/scaling/test_model.py holds it against the real one."""

from forebay.scaling.autoscaler import SYNC_S, Autoscaler, Bounds, calculate_replicas

BOUNDS = Bounds(least=1, most=20)


def test_as_many_as_the_mean_asks_for() -> None:
    assert calculate_replicas(1, [14], 2) == 7
    assert calculate_replicas(4, [5.8] * 4, 4) == 6
    assert calculate_replicas(4, [1] * 4, 4) == 1
    assert calculate_replicas(4, [4.3] * 4, 4) == 4, "a tenth is nothing"


def test_those_that_start_count_as_idle() -> None:
    assert calculate_replicas(5, [14], 2) == 7
    assert calculate_replicas(5, [9], 2) == 5, "with them it is no more than it should be"
    assert calculate_replicas(5, [1], 2) == 1


def test_not_more_than_four_or_twice_as_many_in_a_look() -> None:
    autoscaler, numbers, current = Autoscaler(target=1), [], 1
    for look in range(4):
        current = autoscaler.look(SYNC_S * (look + 1), current, [100], BOUNDS)
        numbers.append(current)
    assert numbers == [5, 10, 20, 20]


def test_down_only_when_less_was_asked_for_all_the_time() -> None:
    autoscaler, current, events = Autoscaler(target=4), 8, []
    for look in range(1, 40):
        before, current = current, autoscaler.look(SYNC_S * look, current, [1] * current, BOUNDS)
        if current != before:
            events.append((SYNC_S * look, current))
    # Two was asked for until then; one counts when that is as long ago.
    assert events == [(SYNC_S + 300, 2)]


def test_behavior_is_the_users() -> None:
    now = Autoscaler(target=4, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    assert now.look(15, 8, [1] * 8, BOUNDS) == 2
    never = Autoscaler(target=4, behavior={"scaleUp": {"selectPolicy": "Disabled"}})
    assert never.look(15, 2, [50] * 2, BOUNDS) == 2
    slowly = {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
    autoscaler = Autoscaler(target=4, behavior={"scaleUp": slowly})
    assert [autoscaler.look(at_s, 2 if at_s < 20 else 3, [50], BOUNDS) for at_s in (15.0, 30.0, 76.0)] == [3, 3, 4]


def test_bounds_and_what_it_leaves_alone() -> None:
    autoscaler = Autoscaler(target=4)
    assert autoscaler.look(15, 0, [], BOUNDS) == 0, "stopped"
    assert autoscaler.look(15, 3, [], BOUNDS) == 3, "nothing is known"
    assert autoscaler.look(15, 1, [], Bounds(least=4, most=8)) == 4
    assert autoscaler.look(15, 9, [], Bounds(least=4, most=8)) == 8
