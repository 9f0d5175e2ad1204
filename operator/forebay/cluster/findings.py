"""What a check of a cluster finds."""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Whether it is as Forebay needs it. A NOTE is missing only for some uses; an UNKNOWN can't be looked at."""

    OK = "ok"
    MISSING = "missing"
    NOTE = "note"
    UNKNOWN = "unknown"


class Finding(NamedTuple):
    """What was found, and what to do about it."""

    state: State
    what: str
    advice: str = ""
