"""Break a revision on purpose, for a bounded time."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from forebay.api.base import Duration, Form, Model, Rule
from forebay.api.rollout import RevisionName

_LONG, _SHORT = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])", "(0[469]|11)-(0[1-9]|[12][0-9]|30)"
_FEBRUARY = "02-(0[1-9]|[12][0-9])"
_DAY = f"[1-9][0-9]{{3}}-({_LONG}|{_SHORT}|{_FEBRUARY})"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"


def _check_day(text: str) -> str:
    """Refuse the 29th of February where there is none."""
    year = int(text[:4])
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if text[4:10] == "-02-29" and not is_leap:
        raise PydanticCustomError("no_day", "is no day of the calendar")
    return text


Time = Annotated[
    str,
    Field(max_length=20, pattern=f"^{_DAY}T{_CLOCK}Z$"),
    AfterValidator(_check_day),
    Form("a time in UTC, as 2026-01-02T03:04:05Z"),
]


class Drill(Model):
    """Break a revision on purpose, to see what clients get then. Its pods are left alone: the gateway plays it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "timestamp(self.until) > timestamp(self.since) && "
            "timestamp(self.until) - timestamp(self.since) <= duration('1h')",
            "must be later than since, by an hour at most: what is broken must not stay so",
            ".until",
        ),
        Rule(
            "!has(self.delay) || (self.fault == 'Slow' && duration(self.delay) >= duration('1ms') && "
            "duration(self.delay) <= duration('1h'))",
            "goes with fault: Slow, and must lie between 1ms and 1h",
            ".delay",
        ),
    )
    fault: Literal["PredictorDown", "Refusing", "Slow"] = Field(
        description="What its requests meet: PredictorDown (no instance is there), Refusing (its queues are full) or "
        "Slow (each waits for `delay` first)."
    )
    revision: RevisionName = Field(description="The revision, from status.traffic: of any other this says nothing.")
    since: Time = Field(description="From when on.")
    until: Time = Field(description="Until when. After that this says nothing, whoever left it here.")
    delay: Duration | None = Field(default=None, description="How much later a request is begun; 5s when left out.")
