"""Whose turn it is."""

import asyncio

import pytest

from forebay.controller.wakeups import Wakeups
from forebay.kube.holdings import Owner

A, B = Owner("default", "a"), Owner("default", "b")


class Stop(Exception):  # noqa: N818
    pass


async def test_one_at_a_time_and_once_more_when_woken_meanwhile() -> None:
    wakeups, seen, running = Wakeups(), [], set()

    async def work(owner: Owner) -> None:
        assert owner not in running
        running.add(owner)
        seen.append(owner)
        if len(seen) == 1:
            for _ in range(3):
                wakeups.wake(owner)
        await asyncio.sleep(0.01)
        running.discard(owner)
        if len(seen) == 3:
            raise Stop

    for _ in range(5):
        wakeups.wake(A)
    wakeups.wake(B)
    assert len(wakeups) == 2
    with pytest.raises(Stop):
        await asyncio.wait_for(wakeups.run(work, workers=4), timeout=5)
    assert sorted(seen) == [A, A, B]


async def test_what_a_look_did_itself_is_no_reason_for_another() -> None:
    wakeups, seen = Wakeups(), []

    async def work(owner: Owner) -> None:
        seen.append(owner)
        if owner == B:
            raise Stop
        if seen == [A]:
            for version in ("1", "2"):
                wakeups.wake(A, ("uid", version))
            wakeups.explain(A, ("uid", "1"))
            assert len(wakeups) == 1, "2 is somebody else's"
        else:
            wakeups.wake(A, ("uid", "3"))
            wakeups.explain(A, ("uid", "3"))
            wakeups.explain(A, ("uid", "4"))
            wakeups.wake(B)

    wakeups.wake(A)
    wakeups.wake_in(B, 5)
    with pytest.raises(Stop):
        await asyncio.wait_for(wakeups.run(work, workers=1), timeout=10)
    assert seen == [A, A, B]


async def test_later_unless_woken_or_forgotten() -> None:
    wakeups, seen = Wakeups(), []

    async def work(owner: Owner) -> None:
        seen.append(owner)
        if owner == B:
            raise Stop

    wakeups.wake_in(A, 0.05)
    wakeups.wake_in(A, 0.01)
    wakeups.wake_in(A, 60)  # the last word counts
    wakeups.wake_in(Owner("default", "gone"), 0.02)
    wakeups.forget(Owner("default", "gone"))
    wakeups.wake_in(B, 0.1)
    with pytest.raises(Stop):
        await asyncio.wait_for(wakeups.run(work, workers=1), timeout=5)
    assert seen == [B]
