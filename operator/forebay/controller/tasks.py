"""Running several things at once."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def run_until_one_ends(coroutines: Iterable[Coroutine[Any, Any, None] | asyncio.Task[None]]) -> None:
    """Run all; when one ends the others are cancelled, and what it raised is raised."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
