"""Which answers are paired, what comes of them, and that what waits is bounded."""

import base64
from typing import Any

import pytest

from forebay.gateway.agreement import Tolerance
from forebay.gateway.comparisons import Answer, Comparisons, Watched
from forebay.plan.envoy_shadow import name_copied_cluster

ROUTE = "default/live"
WATCHED = Watched(cluster="default/dark-1", timeout_s=10.0, tolerance=Tolerance())


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def comparisons(clock: Clock) -> Comparisons:
    return Comparisons({ROUTE: WATCHED}.get, clock)


def answer(name: str, *, is_copy: bool = False, body: str | None = '{"y": 1.5}', **fields: Any) -> Answer:
    cluster = "default/dark-1" if is_copy else "default/live-1"
    encoded = None if body is None else base64.b64encode(body.encode()).decode()
    made = {"route": ROUTE, "code": 200, "cluster": cluster, "took_ms": 12.34, "body": encoded, **fields}
    return Answer(id=name, is_copy=is_copy, request=f"request-{name}", **made)


def count(comparisons: Comparisons, workload: str = "dark-1") -> dict[str, int]:
    """Of the outcomes those that there were."""
    told = comparisons.tell([ROUTE])[ROUTE].get(workload, {})
    return {name: value for name, value in told.items() if isinstance(value, int) and value}


@pytest.mark.parametrize(
    ("told", "copy", "outcome"),
    [
        ({}, {}, "agreed"),
        ({}, {"body": '{"y": 1.5000001}'}, "agreed"),
        ({}, {"body": '{"y": 2.5}'}, "differed"),
        ({"code": 400}, {"code": 400}, "agreed"),
        ({"code": 400}, {}, "differed"),
        ({}, {"code": 404}, "differed"),
        ({}, {"code": 500}, "failed"),
        ({}, {"code": 504, "reason": "timeout"}, "failed"),
        ({}, {"code": 503, "reason": "instance-failed"}, "failed"),
        ({}, {"code": 503, "reason": "no-instance"}, "lost"),
        ({}, {"code": 429, "reason": "queue-full"}, "lost"),
        ({}, {"code": 0}, "lost"),
        ({"code": 500}, {}, "skipped"),
        ({"code": 0}, {"code": 500}, "skipped"),
        ({"code": 429, "reason": "queue-full"}, {}, "skipped"),
        ({"body": None, "is_cut": True}, {"body": None, "is_cut": True}, "skipped"),
        ({}, {"body": None, "is_cut": True, "code": 500}, "differed"),
        ({"body": None, "is_cut": True}, {}, "differed"),
        ({"body": "x" * 60_000}, {"body": None, "is_cut": True}, "skipped"),
    ],
)
@pytest.mark.parametrize("first", ["the answer", "the copy's"])
def test_outcomes(comparisons, told, copy, outcome, first):
    pair = [answer("a", **told), answer("a", is_copy=True, **copy)]
    for each in pair if first == "the answer" else reversed(pair):
        comparisons.take(each)
    assert count(comparisons) == {outcome: 1}
    examples = comparisons.tell([ROUTE], with_examples=True)[ROUTE]["dark-1"]["examples"]
    assert [each["request"] for each in examples] == (["request-a"] if outcome in ("differed", "failed") else [])


def test_times_are_of_what_was_compared(comparisons):
    comparisons.take(answer("a"))
    comparisons.take(answer("a", is_copy=True, took_ms=0.2))
    told = comparisons.tell([ROUTE])[ROUTE]["dark-1"]
    assert (told["toldMs"], told["copiedMs"]) == ({"12": 1}, {"0": 1})


def test_what_has_no_other_half_is_given_up(comparisons, clock):
    comparisons.take(answer("a"))
    comparisons.take(answer("b", is_copy=True))
    clock.now_s = 14.0
    assert count(comparisons) == {}
    clock.now_s = 16.0
    assert count(comparisons) == {"lost": 1}
    comparisons.take(answer("a", is_copy=True))
    assert count(comparisons) == {"lost": 1}


def test_what_waits_is_bounded(comparisons):
    body = "x" * 60_000
    for number in range(1000):
        comparisons.take(answer(f"{number}", body=body))
    assert sum(len(each.body or "") for _, each in comparisons._waiting.values()) == comparisons._bytes <= 16 * 2**20
    comparisons.take(answer("0", is_copy=True, code=500))
    comparisons.take(answer("1", is_copy=True, body=body))
    comparisons.take(answer("999", is_copy=True, body=body))
    assert count(comparisons) == {"failed": 1, "skipped": 1, "agreed": 1}
    for number in range(30_000):
        comparisons.take(answer(f"more-{number}", body=None))
    assert len(comparisons._waiting) == 20_000
    assert comparisons._bytes == 0


def test_of_whom_nothing_is_watched_nothing_is_kept(comparisons):
    comparisons.take(answer("a", route="default/other"))
    comparisons.take(answer(""))
    assert not comparisons._waiting
    assert comparisons.tell(["default/other"]) == {"default/other": {}}


def test_counts_are_of_the_workload_that_answered(comparisons):
    comparisons.take(answer("a"))
    comparisons.take(answer("a", is_copy=True, cluster=name_copied_cluster("default/live", "default/dark-2")))
    assert count(comparisons, "dark-2") == {"agreed": 1}


def test_compressed_answers_are_not_read(comparisons):
    for name, body in (("a", '{"y": 1.5}'), ("b", '{"y": 1.50}')):
        comparisons.take(answer(name, is_encoded=True))
        comparisons.take(answer(name, is_copy=True, body=body, is_encoded=True))
    assert count(comparisons) == {"agreed": 1, "skipped": 1}
