"""How strongly requests speak against a revision: tests that may be looked at after every interval.

A rollout is looked at again and again until something shows. A usual test (Fisher's, a t test) done so often finds
something in the end, whatever there is. What is measured here are e-values: what a bet that a revision is bad would
have made of 1, were it as good as it should be, at fair odds. Whoever bets on what isn't so makes nothing on average,
so that the chance to ever reach 1/a, at whichever look, is a at most (Ville's inequality), with few requests as with
many. Logarithms of these values are added up.

- `Comparison` is with the stable revision. The gateway deals the requests out at random: how many of an interval's bad
  answers are the new one's is then hypergeometric when both revisions are alike, whatever the load, and also where
  failures come in bursts or everything gets slower. The bet is on each bad answer, as if they were dealt out with
  replacement, which is a fair bet for the hypergeometric as well (Hoeffding 1963, theorem 4: its payoff is convex).
- `measure_excess` and `measure_shortfall` bet on each request, against a fixed share.

Nobody knows by how much a revision is worse: the stake is divided evenly among `_TIMES`.

Turner, Ly, Grünwald: Generic E-variables for exact sequential k-sample tests that allow for optional stopping, Journal
of Statistical Planning and Inference 230, 2024 (arXiv 2106.02693). Ramdas, Grünwald, Vovk, Shafer: Game-theoretic
statistics and safe anytime-valid inference, Statistical Science 38, 2023 (arXiv 2210.01948). Hoeffding: Probability
inequalities for sums of bounded random variables, Journal of the American Statistical Association 58, 1963, section 6.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

# How many times worse than allowed a revision may be: less than the first is of no consequence.
_TIMES = (1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 40.0, 150.0, 1000.0)
# One that may never be passed: no bet can be made on it.
_CERTAIN = 1.0 - 1e-9


class Part(NamedTuple):
    """So many of so many."""

    bad: int
    of: int

    @property
    def share(self) -> float:
        """From 0 to 1; 0 of none."""
        return self.bad / self.of if self.of else 0.0


@dataclass(frozen=True)
class Comparison:
    """Whether the new revision's share is more than `ratio` times the stable one's: what each stake is worth."""

    ratio: float = 1.0
    logs: tuple[float, ...] = (0.0,) * len(_TIMES)

    def after(self, new: Part, old: Part) -> "Comparison":
        """With the requests of another interval."""
        bad, of = new.bad + old.bad, new.of + old.of
        if not bad or not new.of or not old.of:
            return self
        rest, part = old.of / of, new.of / of
        fair = math.log(part * self.ratio + rest)
        gains = (
            new.bad * math.log(times) - bad * (math.log(part * self.ratio * times + rest) - fair) for times in _TIMES
        )
        return Comparison(self.ratio, tuple(log + gain for log, gain in zip(self.logs, gains, strict=True)))

    @property
    def log_evidence(self) -> float:
        """The logarithm of all that the stakes are worth."""
        return _average(self.logs)


def measure_excess(part: Part, limit: float) -> float:
    """The logarithm of the evidence that the share is more than the limit."""
    if limit <= 0:
        return math.inf if part.bad else 0.0
    return 0.0 if limit >= _CERTAIN else _average(_bet(part, limit, times) for times in _TIMES)


def measure_shortfall(part: Part, limit: float) -> float:
    """The logarithm of the evidence that the share is less than the limit."""
    if limit >= _CERTAIN:
        return math.inf
    return _average(_bet(part, limit, 1 / times) for times in _TIMES) if limit > 0 else 0.0


def _bet(part: Part, limit: float, times: float) -> float:
    """What the stake is worth that the odds are so many times those of the limit."""
    odds = limit / (1 - limit) * times
    share = odds / (1 + odds)
    return part.bad * math.log(share / limit) + (part.of - part.bad) * math.log((1 - share) / (1 - limit))


def _average(logs: Iterable[float]) -> float:
    """The logarithm of the mean, of numbers that are too large to be written out."""
    known = list(logs)
    most = max(known)
    return most + math.log(sum(math.exp(each - most) for each in known) / len(known))
