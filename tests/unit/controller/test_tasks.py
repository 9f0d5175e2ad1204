"""What runs together ends together."""

import asyncio

import pytest

from forebay.controller.tasks import run_until_one_ends
from forebay.controller.wakeups import Wakeups
from forebay.kube.holdings import Owner


class LostError(Exception):
    pass


async def fail() -> None:
    await asyncio.sleep(0)
    raise LostError


async def test_one_that_loses_a_cancellation_is_told_again() -> None:
    told = 0

    async def lose() -> None:
        nonlocal told
        while told < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told += 1
        raise asyncio.CancelledError

    async with asyncio.timeout(60):
        with pytest.raises(LostError):
            await run_until_one_ends([lose(), fail()])
    assert told == 2


async def test_a_worker_that_fails_ends_the_others_though_more_is_due_at_that_moment() -> None:
    """As when the lease is lost under load: what is due changes just as all are told to end."""
    wakeups = Wakeups()

    async def work(owner: Owner) -> None:
        await asyncio.sleep(0)
        wakeups.wake_in(owner, 100.0)
        raise LostError

    wakeups.wake_in(Owner("default", "text"), 1000.0)
    wakeups.wake(Owner("default", "digits"))
    async with asyncio.timeout(60):
        with pytest.raises(LostError):
            await wakeups.run(work, workers=2)
