"""How many instances of a model there are to be, when Triton gets a pause for it, and which models are refused."""

import json
import threading
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from forebay.serving.instances import scaler
from forebay.serving.instances.decision import Limits, Pauses, Sample, decide
from forebay.serving.instances.metrics import Metrics
from forebay.serving.instances.queue import Reading
from forebay.serving.instances.triton import Unscalable, check_scalable

LIMITS = Limits(least=1, most=4, concurrency=10, cooldown_s=60)


def samples(*requests: int, until_s: float = 100) -> list[Sample]:
    """One a second."""
    first = until_s - len(requests) + 1
    return [Sample(at_s=first + number, requests=each) for number, each in enumerate(requests)]


@pytest.mark.parametrize(
    ("requests", "current", "expected", "why"),
    [
        ((8, 9, 8), 1, 2, "more than 7 of 10 slots are used"),
        ((7, 7, 7), 1, 1, "just as many as one is to have"),
        ((30, 30, 22), 1, 4, "three would be to have 21"),
        ((90, 90, 90), 1, 4, "there are no more"),
        ((90, 90), 1, 1, "nobody knows yet whether it lasts"),
        ((0, 90, 90), 1, 1, "it has just begun"),
        ((90, 0, 90), 1, 1, "the queue was empty in between"),
        ((), 3, 3, "nothing was seen"),
        ((1,) * 61, 4, 1, "one was enough for a minute"),
        ((1,) * 60, 4, 4, "not for a whole minute"),
        ((1,) * 30 + (20,) + (1,) * 30, 4, 3, "three were needed once"),
        ((0,) * 61, 1, 1, "one stays"),
        ((14,) * 61, 2, 2, "two have just what they are to have"),
    ],
)
def test_the_number_of_instances(requests: tuple[int, ...], current: int, expected: int, why: str) -> None:
    assert decide(samples(*requests), current, LIMITS, now_s=100) == expected, why


@pytest.mark.parametrize(("current", "expected"), [(1, 2), (5, 3), (2, 2)])
def test_what_was_loaded_otherwise_comes_within_the_bounds_at_once(current: int, expected: int) -> None:
    limits = Limits(least=2, most=3, concurrency=10, cooldown_s=60)
    assert decide([], current, limits, now_s=100) == expected


def look(pauses: Pauses, until_s: float, *, calm: bool) -> list[float]:
    """When there is a pause, looked at each quarter of a second."""
    return [quarter / 4 for quarter in range(int(until_s * 4)) if pauses.look(quarter / 4, calm=calm)]


def test_a_pause_ends_when_it_was_calm_and_the_next_ones_are_farther_apart() -> None:
    assert look(Pauses(at_once=False), 30, calm=True) == [3, 3.25, 7, 7.25, 15, 15.25]


def test_a_pause_that_is_never_calm_ends_all_the_same() -> None:
    assert look(Pauses(at_once=True), 6, calm=False) == [quarter / 4 for quarter in range(12)]


def reading(*, depth_follows: bool, requests: int = 0, cooldown_s: float = 60) -> Reading:
    limits = Limits(least=2, most=4, concurrency=8, cooldown_s=cooldown_s)
    return Reading(
        in_flight=0, queued=requests, base_depth=64, slots=16, depth=64, depth_follows=depth_follows, limits=limits
    )


class Failure(grpc.RpcError):
    """A load that failed at once."""

    def done(self) -> bool:
        return True

    def exception(self) -> grpc.RpcError:
        return self


class Site:
    """A queue and a Triton with as many instances as were asked for last, and a clock; some loads fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, cooldown_s: float, count: int) -> None:
        self.requests, self.count, self.fails, self.now_s = 0, count, False, 0.0
        self._cooldown_s = cooldown_s
        queue = SimpleNamespace(read=self._read, allow=lambda *_: None)
        triton = SimpleNamespace(read=lambda: self, load=lambda _, count: self._load(count))
        monkeypatch.setattr(scaler, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        self._scaler = scaler.Scaler(cast(Any, queue), cast(Any, triton), Metrics(), stop=threading.Event())

    def look(self, seconds: int) -> int:
        """The instances after so long, with a look a bit more than each second."""
        for _ in range(seconds):
            self.now_s += 1.01
            self._scaler.look()
        return self.count

    def _read(self) -> Reading:
        return reading(depth_follows=True, requests=self.requests, cooldown_s=self._cooldown_s)

    def _load(self, count: int) -> Any:
        if not self.fails:
            self.count = count
        return Failure() if self.fails else SimpleNamespace(done=lambda: True, exception=lambda: None)


@pytest.mark.parametrize("cooldown_s", [1, 1.5, 2, 60])
def test_more_come_however_soon_fewer_do(cooldown_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, cooldown_s=cooldown_s, count=2)
    site.requests = 100
    assert site.look(5) == 4


def test_after_fewer_could_not_be_loaded_more_can(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, cooldown_s=5, count=3)
    site.fails = True
    assert site.look(8) == 3
    site.requests, site.fails = 100, False
    assert site.look(5) == 4


def test_what_could_not_be_loaded_is_not_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch, cooldown_s=5, count=3)
    site.requests, site.fails = 100, True
    site.look(5)
    site.fails = False
    assert site.look(5) == 3
    assert site.look(300) == 4


def test_slots_and_depth_follow_the_instances() -> None:
    assert reading(depth_follows=True).choose_numbers(3) == (24, 96)
    assert reading(depth_follows=False).choose_numbers(3) == (24, 64)


def test_in_a_pause_whoever_has_no_slot_may_wait() -> None:
    assert reading(depth_follows=False).choose_numbers(3, quiet=True) == (3, 64 + 21)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('name: "m" ensemble_scheduling { step [{model_name: "a"}] }', "is an ensemble"),
        ('name: "m" sequence_batching {} instance_group [{count: 1}]', "has sequence_batching"),
        ('name: "m" instance_group [{count: 1}, {count: 2}]', "has 2 entries in instance_group"),
        ('name: "m"', "has 0 entries in instance_group"),
    ],
)
def test_what_can_t_be_scaled_is_told(config: str, words: str) -> None:
    with pytest.raises(Unscalable, match=words) as told:
        check_scalable(text_format.Parse(config, model_config_pb2.ModelConfig()))
    assert "triton.instances" in str(told.value)


def test_a_plain_model_can_be_scaled() -> None:
    text = json.dumps({"name": "m", "instance_group": [{"name": "m_0", "count": 1, "kind": "KIND_GPU", "gpus": [0]}]})
    check_scalable(json_format.Parse(text, model_config_pb2.ModelConfig()))
