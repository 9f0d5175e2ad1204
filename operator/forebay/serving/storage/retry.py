"""How often, and after which pauses, something is tried again."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from forebay.serving.storage.errors import StorageError

READ_TRIES = 5
LIST_TRIES = 3
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

Answer = TypeVar("Answer")


def pause_s(attempt: int) -> float:
    """Seconds to wait after try number `attempt` (0 is the first): doubling, with jitter, bounded."""
    # Jitter: the pods of a rollout must not come back all at once.
    return min(FIRST_PAUSE_S * 2.0**attempt, LONGEST_PAUSE_S) * random.uniform(0.5, 1)  # noqa: S311


def retried(action: Callable[[], Answer], *, tries: int) -> Answer:
    """Call `action`, again after transient StorageErrors, and raise the last."""
    for attempt in range(tries - 1):
        try:
            return action()
        except StorageError as error:
            if not error.transient:
                raise
            time.sleep(pause_s(attempt))
    return action()
