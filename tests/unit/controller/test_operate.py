"""What comes after a look."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from forebay.controller.metrics import Metrics
from forebay.controller.operate import build_work
from forebay.controller.wakeups import Wakeups, spread
from forebay.kube.client import ApiError
from forebay.kube.holdings import Owner

A = Owner("default", "a")


class Delays(Wakeups):
    """When the next look is."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def wake_in(self, owner: Owner, delay_s: float) -> None:
        assert owner == A
        self.seen.append(delay_s)


async def look(answers: list[float | Exception]) -> list[float]:
    """When the next look is after each of these."""
    left = iter(answers)

    async def reconcile(_: Owner) -> float:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    delays = Delays()
    reconciler = SimpleNamespace(reconcile=reconcile, world=SimpleNamespace(find=lambda _: {}))
    work = build_work(cast("Any", reconciler), delays, Metrics())
    for _ in answers:
        await work(A)
    return delays.seen


async def test_what_is_due_is_looked_at_when_it_is_due() -> None:
    assert await look([2.5, 3600.0, 0.0]) == [2.5, 3600.0, 0.0]


async def test_who_fails_is_tried_again_later_each_time_and_not_with_all_others() -> None:
    error = ApiError(503, "ServiceUnavailable", "away")
    first, second, third = await look([error, error, error])
    assert first == pytest.approx(0.5, rel=0.1)
    assert first < second < third
    assert (await look([error]))[0] != first


def test_many_are_spread() -> None:
    found = [spread(10) for _ in range(100)]
    assert len(set(found)) == 100
    assert all(9 <= each <= 11 for each in found)
