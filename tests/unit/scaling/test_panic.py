"""When a step of load raises the floor, for how long it holds, and that noise doesn't."""

import random
from itertools import pairwise

import pytest

from forebay.scaling.floors import read_floor, with_floors
from forebay.scaling.panic import STABLE_S, Fleet, Floor, Sample, decide, is_hot, spare


def fleet(wanted: int = 1, *, ready: int | None = None, most: int = 20, target: float = 4) -> Fleet:
    return Fleet(wanted=wanted, ready=wanted if ready is None else ready, most=most, target=target)


def samples(*requests: int, until_s: float = 100) -> list[Sample]:
    """One a second."""
    first = until_s - len(requests) + 1
    return [Sample(at_s=first + number, requests=each) for number, each in enumerate(requests)]


def held(instances: int, *, until_s: float = 150) -> Floor:
    return Floor(instances=instances, until_s=until_s, reason="because")


def test_a_load_of_twice_the_target_that_lasts_raises_the_floor() -> None:
    floor = decide(samples(14, 15), fleet(), None, now_s=100)
    assert floor
    assert (floor.instances, floor.reason) == (4, "1 → 4: 14 requests at each, target 4")
    assert floor.until_s >= 100 + STABLE_S


@pytest.mark.parametrize(
    ("requests", "why"),
    [
        ((15,), "nobody knows yet whether it lasts"),
        ((0, 40), "it has just begun"),
        ((40, 0), "the queue is empty again"),
        ((40, 7), "the autoscaler has time for that"),
        ((7, 7), "less than twice the target is noise"),
        ((), "nothing is known"),
    ],
)
def test_what_raises_nothing(requests: tuple[int, ...], why: str) -> None:
    assert decide(samples(*requests), fleet(), None, now_s=100) is None, why


def test_old_samples_say_nothing_of_now() -> None:
    assert decide(samples(40, 40, until_s=90), fleet(), None, now_s=100) is None


def test_the_latest_load_counts_and_not_the_one_before_it() -> None:
    floor = decide(samples(9, 40, 41), fleet(), None, now_s=100)
    assert floor
    assert floor.instances == 10


def test_it_never_exceeds_the_most() -> None:
    floor = decide(samples(400, 400), fleet(most=6), None, now_s=100)
    assert floor
    assert floor.instances == 6
    assert decide(samples(400, 400), fleet(6, most=6), None, now_s=100) is None


def test_nothing_is_raised_that_was_stopped() -> None:
    assert decide(samples(400, 400), fleet(0), None, now_s=100) is None
    assert not is_hot(400, fleet(0), None)


def test_those_on_their_way_are_not_asked_for_twice() -> None:
    starting = fleet(4, ready=1)
    assert decide(samples(30, 30), starting, held(4), now_s=100) == held(4, until_s=100 + STABLE_S + 30)
    again = decide(samples(32, 32), starting, held(4), now_s=100)
    assert again
    assert again.instances == 8, "twice of what they will take is more load"


def test_while_it_holds_it_follows_the_load_up_but_not_its_noise() -> None:
    assert decide(samples(17, 17), fleet(4), held(4, until_s=170), now_s=100) == held(4, until_s=170)
    more = decide(samples(19, 19), fleet(4), held(4), now_s=100)
    assert more
    assert more.instances == 5


def test_the_floor_holds_for_the_stable_window_after_the_last_need() -> None:
    floor: Floor | None = decide(samples(16, 16), fleet(), None, now_s=100)
    assert floor
    writes = 1
    for now_s in range(101, 300):
        before, floor = floor, decide(samples(16, 16, until_s=now_s), fleet(4), floor, now_s=now_s)
        assert floor
        assert floor.until_s - now_s >= STABLE_S
        writes += floor != before
    assert writes < 10, "what is written again and again is no calm"
    last_need_s = 299
    while floor:
        now_s += 1
        before, floor = floor, decide(samples(3, 3, until_s=now_s), fleet(4), floor, now_s=now_s)
        assert floor in (None, before), "it is never lowered"
    assert STABLE_S <= now_s - last_need_s <= STABLE_S + 31


def test_what_holds_is_kept_while_nothing_is_known() -> None:
    assert decide([], fleet(4), held(4), now_s=100) == held(4)
    assert decide([], fleet(4), held(4), now_s=150) is None


def test_only_hot_ones_are_looked_at() -> None:
    assert not is_hot(31, fleet(4), None)
    assert is_hot(32, fleet(4), None)
    assert not is_hot(11, fleet(4), held(4))
    assert is_hot(12, fleet(4), held(4)), "whether it is needed on"


def test_instances_that_wait_for_a_gpu_are_spared_but_not_for_ever() -> None:
    floor = spare([80, 95], fleet(6, ready=4), now_s=100)
    assert floor
    assert (floor.instances, floor.reason) == (6, "2 of 6 instances wait for a GPU")
    assert spare([80, 95], fleet(6, ready=4), now_s=floor.until_s) is None
    assert spare([], fleet(6), now_s=100) is None


def test_a_floor_stands_in_the_autoscaler() -> None:
    manifest = {
        "kind": "HorizontalPodAutoscaler", "metadata": {"name": "m"}, "spec": {"minReplicas": 1, "maxReplicas": 5},
    }  # fmt: skip
    other = {"kind": "Service", "metadata": {"name": "m"}, "spec": {}}
    floor = Floor(instances=4, until_s=1_800_000_000, reason="1 → 4: 14 requests at each, target 4")
    raised, same = with_floors([manifest, other], {"m": floor}, {})
    assert raised["spec"] == {"minReplicas": 4, "maxReplicas": 5}
    assert same == other
    assert read_floor(raised) == floor
    assert with_floors([manifest], {}, {}) == [manifest]
    assert read_floor(manifest) is None
    (spared,) = with_floors([manifest], {}, {"m": held(9)})
    assert spared["spec"]["minReplicas"] == 5, "the most is the most"
    assert read_floor(spared) is None, "it follows from the pods alone"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "4", '{"instances": 4}', '{"instances": 4, "until": "soon", "reason": ""}']
)
def test_an_annotation_that_somebody_else_wrote_is_none(text: str) -> None:
    assert read_floor({"metadata": {"annotations": {"forebay.dev/floor": text}}}) is None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("busy", [0.5, 0.8, 1.0])
def test_a_noisy_steady_load_raises_nothing(seed: int, busy: float) -> None:
    """Ten minutes of as many requests as chance brings, at four instances that are as busy as they are to be."""
    chance = random.Random(seed)
    four, floor, events = fleet(4, target=5.6), None, 0
    kept: list[Sample] = []
    for second in range(600):
        mean = busy * four.target * four.wanted
        kept = [*kept[-3:], Sample(at_s=second, requests=round(max(0.0, chance.gauss(mean, mean**0.5))))]
        before, floor = floor, decide(kept, four, floor, now_s=second)
        events += floor != before
    assert events == 0


def test_a_step_that_stays_is_one_event() -> None:
    load = [5] * 50 + [60] * 550
    wanted, floor = 1, None
    numbers = [wanted]
    for now_s, (before, now) in enumerate(pairwise(load)):
        floor = decide(samples(before, now, until_s=now_s), fleet(wanted), floor, now_s=now_s)
        wanted = max(wanted, floor.instances if floor else 1)
        numbers.append(wanted)
    assert sorted(set(numbers)) == [1, 15]
    assert numbers.index(15) <= 52
