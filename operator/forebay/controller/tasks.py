"""Running several things at once."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

# Before a task that goes on is told once more.
_AGAIN_S = 1.0


async def run_until_one_ends(coroutines: Iterable[Coroutine[Any, Any, None] | asyncio.Task[None]]) -> None:
    """Run all; when one ends the others are cancelled, and what it raised is raised."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    for task in done:
        task.result()


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel until all have ended. Python 3.11's `asyncio.wait_for`, which libraries use, loses a cancellation that
    comes with what is waited for; and an operator of which half is left would hold the lease, and do nothing.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
