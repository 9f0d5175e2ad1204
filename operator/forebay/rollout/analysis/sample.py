"""The requests of one step of a rollout, from its beginning: what is kept of them to judge by."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from forebay.plan.analysis import Analysis, Percentile
from forebay.rollout.analysis.evidence import Comparison, Part
from forebay.rollout.analysis.tally import Tally, Times, count_slower, find_percentile_ms

# A percentile is known when so many answers took longer.
_FEWEST_SLOWER = 5
_NONE = Part(0, 0)


@dataclass(frozen=True, kw_only=True)
class Slowness:
    """How many answers took longer than a percentile of the stable revision's, times the ratio that is allowed.

    `limit_ms` is that of an interval, from what was known before it: a limit that came of the requests it judges would
    be none. Until enough is known it is 0, and no request is judged by it.
    """

    percentile: Percentile
    limit_ms: float = 0.0
    new: Part = _NONE
    old: Part = _NONE
    comparison: Comparison = field(default_factory=Comparison)

    @property
    def allowed(self) -> float:
        """The share that may take longer."""
        return 1 - self.percentile.percentile / 100

    def set_limit(self, known: Sequence[Times]) -> "Slowness":
        """By what is known of the stable revision: the first that is enough."""
        ratio, percentile = self.percentile.max_ratio or 1.0, self.percentile.percentile
        enough = (each for each in known if sum(each.values()) * self.allowed >= _FEWEST_SLOWER)
        return replace(self, limit_ms=next((find_percentile_ms(each, percentile) * ratio for each in enough), 0.0))

    def after(self, new: Tally, old: Tally) -> "Slowness":
        """With the requests of another interval."""
        if not self.limit_ms:
            return self
        slow, slow_old = (Part(count_slower(each.times, self.limit_ms), each.answered) for each in (new, old))
        return replace(
            self,
            new=Part(self.new.bad + slow.bad, self.new.of + slow.of),
            old=Part(self.old.bad + slow_old.bad, self.old.of + slow_old.of),
            comparison=self.comparison.after(slow, slow_old),
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """All of a step so far. `history` are the stable revision's times from before: whatever it has been through, they
    count only until there are enough of the step's own.
    """

    new: Tally = field(default_factory=Tally)
    old: Tally = field(default_factory=Tally)
    history: Times = field(default_factory=dict)
    errors: Comparison = field(default_factory=Comparison)
    slowness: tuple[Slowness, ...] = ()

    def after(self, new: Tally, old: Tally) -> "Sample":
        """With the requests of another interval."""
        known = (self.old.times, self.history)
        slowness = (each.set_limit(known).after(new, old) for each in self.slowness)
        return replace(
            self,
            new=self.new.plus(new),
            old=self.old.plus(old),
            errors=self.errors.after(Part(new.errors, new.requests), Part(old.errors, old.requests)),
            slowness=tuple(slowness),
        )


def begin_sample(analysis: Analysis, history: Times) -> Sample:
    """At the beginning of a step."""
    return Sample(
        history=history,
        errors=Comparison(ratio=analysis.errors.max_ratio or 1.0),
        slowness=tuple(Slowness(percentile=each) for each in analysis.latency if each.max_ratio),
    )
