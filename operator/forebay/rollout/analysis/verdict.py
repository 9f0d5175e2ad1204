"""What an analysis says."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Inconclusive is no fault of the revision: it takes more requests to tell, or counters are missing."""

    PASSED = "Passed"
    INCONCLUSIVE = "Inconclusive"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome, a sentence with figures, and the requests that it is of."""

    outcome: Outcome
    message: str
    requests: int = 0
    stable_requests: int = 0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check says."""

    outcome: Outcome
    message: str


NOT_COUNTED = Verdict(outcome=Outcome.INCONCLUSIVE, message="no requests are counted yet")
DRILLED = Verdict(
    outcome=Outcome.INCONCLUSIVE,
    message="spec.drill breaks one of both revisions: requests are counted anew when it is over",
)
