"""The verdict on a new revision, from the requests of a step.

A good release fails by chance in one of a thousand at most (`_FALSE_ALARM`), however often it is looked at: that is
divided among its steps and what is looked at in them. A step is passed when what was seen would surprise of a revision
that is worse than allowed by two percent of the requests (`_TOLERANCE`), at odds of 10 to 1: until then it takes more
requests. What differs from the stable revision, but is so small that nobody minds, is no failure: both must be shown.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from forebay.plan.analysis import Analysis, Percentile
from forebay.rollout.analysis.evidence import Part, measure_excess, measure_shortfall
from forebay.rollout.analysis.sample import Sample, Slowness
from forebay.rollout.analysis.tally import count_slower, find_percentile_ms
from forebay.rollout.analysis.verdict import Finding, Outcome, Verdict

_FALSE_ALARM = 0.001
_TOLERANCE = 0.02
_ENOUGH = math.log(10)
# Fewer errors than these are never too much.
_NEGLIGIBLE = 0.001
_CHANCE = "more than chance explains"


@dataclass(frozen=True, kw_only=True)
class Weight:
    """How strongly it must speak against a revision, as a logarithm: `proof` of e-values."""

    proof: float

    def weigh(self, part: Part, *, allowed: float, against: float) -> Outcome:
        """What follows from a share, and from the evidence against it."""
        if against >= self.proof:
            return Outcome.FAILED
        is_shown = measure_shortfall(part, allowed + _TOLERANCE) >= _ENOUGH
        return Outcome.PASSED if is_shown else Outcome.INCONCLUSIVE


def judge(analysis: Analysis, sample: Sample, *, steps: int, copied: bool = False) -> Verdict:
    """What is to be made of a step's requests so far, of a rollout of so many steps; or of their copies."""
    weight = Weight(proof=math.log(steps * _count_checks(analysis) / _FALSE_ALARM))
    findings = list(_check_copies(analysis, sample, weight) if copied else _check_all(analysis, sample, weight))
    outcome, message = _choose(analysis, sample, findings, what="copies compared" if copied else "requests")
    return Verdict(outcome=outcome, message=message, requests=sample.new.requests, stable_requests=sample.old.requests)


def _choose(analysis: Analysis, sample: Sample, findings: list[Finding], *, what: str) -> tuple[Outcome, str]:
    by_outcome = {each: [found.message for found in findings if found.outcome is each] for each in Outcome}
    if by_outcome[Outcome.FAILED]:
        return Outcome.FAILED, "; ".join(by_outcome[Outcome.FAILED])
    if sample.new.requests < analysis.min_requests:
        return Outcome.INCONCLUSIVE, f"{_count(sample.new.requests)} of {_count(analysis.min_requests)} {what} so far"
    if by_outcome[Outcome.INCONCLUSIVE]:
        return Outcome.INCONCLUSIVE, f"it takes more requests to tell: {'; '.join(by_outcome[Outcome.INCONCLUSIVE])}"
    return Outcome.PASSED, "; ".join(by_outcome[Outcome.PASSED])


def _count_checks(analysis: Analysis) -> int:
    shares = [analysis.errors, *([analysis.refusals] if analysis.refusals else [])]
    limits = [limit for each in shares for limit in (each.max_pct, each.max_ratio)]
    limits += [limit for each in analysis.latency for limit in (each.max_ms, each.max_ratio)]
    # That answers to copies agree is looked at in place of errors.
    return sum(each is not None for each in limits) or 1


def _check_all(analysis: Analysis, sample: Sample, weight: Weight) -> Iterator[Finding]:
    errors = Part(sample.new.errors, sample.new.requests)
    stable = Part(sample.old.errors, sample.old.requests)
    if analysis.errors.max_pct is not None:
        yield _check_limit(errors, "failed", analysis.errors.max_pct, "errorRate.max", weight)
    if analysis.errors.max_ratio is not None:
        allowed = max(_NEGLIGIBLE, stable.share * analysis.errors.max_ratio)
        against = min(sample.errors.log_evidence, measure_excess(errors, _NEGLIGIBLE))
        outcome = weight.weigh(errors, allowed=allowed, against=against)
        than = f"than {analysis.errors.max_ratio:g} times as many, and " if analysis.errors.max_ratio > 1 else ""
        why = f": more {than}than chance explains" if outcome is Outcome.FAILED else ""
        yield Finding(outcome=outcome, message=f"{_tell(errors, 'failed')} (stable: {_show(stable)}){why}")
    if analysis.refusals and analysis.refusals.max_pct is not None:
        refused = Part(sample.new.refusals, sample.new.requests)
        yield _check_limit(refused, "were refused", analysis.refusals.max_pct, "refusals.max", weight)
    yield from _check_times(analysis, sample, weight)


def _check_copies(analysis: Analysis, sample: Sample, weight: Weight) -> Iterator[Finding]:
    """The answers to copies, which no client got: whether they agree, and how long the model took."""
    part, least = Part(sample.new.differed, sample.new.requests), analysis.min_agreement_pct
    allowed = 1 - least / 100
    outcome = weight.weigh(part, allowed=allowed, against=measure_excess(part, allowed))
    told = f"{_count(part.bad)} of {_count(part.of)} answers to copies differ ({_percent(part.share)} %)"
    why = f": fewer than the {least:g} % of agreement.min agree, and {_CHANCE}" if outcome is Outcome.FAILED else ""
    yield Finding(outcome=outcome, message=f"{told}{why}")
    yield from _check_times(analysis, sample, weight)


def _check_times(analysis: Analysis, sample: Sample, weight: Weight) -> Iterator[Finding]:
    for each in analysis.latency:
        if each.max_ms is not None:
            yield _check_time(sample, each, each.max_ms, weight)
    for slowness in sample.slowness:
        yield _check_slowness(sample, slowness, weight)


def _check_limit(part: Part, what: str, max_pct: float, name: str, weight: Weight) -> Finding:
    """Against a share that may not be passed."""
    limit = max_pct / 100
    outcome = weight.weigh(part, allowed=limit, against=measure_excess(part, limit))
    why = f": more than the {max_pct:g} % of {name}, and {_CHANCE}" if outcome is Outcome.FAILED else ""
    return Finding(outcome=outcome, message=f"{_tell(part, what)}{why}")


def _check_time(sample: Sample, percentile: Percentile, max_ms: float, weight: Weight) -> Finding:
    """Against a time that may not be passed."""
    part = Part(count_slower(sample.new.times, max_ms), sample.new.answered)
    allowed = 1 - percentile.percentile / 100
    outcome = weight.weigh(part, allowed=allowed, against=measure_excess(part, allowed))
    time = _time(find_percentile_ms(sample.new.times, percentile.percentile))
    why = f": longer than the {_time(max_ms)} of latency.max, and {_CHANCE}" if outcome is Outcome.FAILED else ""
    return Finding(
        outcome=outcome, message=f"p{percentile.percentile:g} is {time} over {_count(part.of)} requests{why}"
    )


def _check_slowness(sample: Sample, slowness: Slowness, weight: Weight) -> Finding:
    """Against a time of the stable revision's."""
    name = f"p{slowness.percentile.percentile:g}"
    if not slowness.limit_ms:
        known = _count(max(sample.old.answered, sum(sample.history.values())))
        message = f"{known} requests to the stable revision are too few to know its {name}"
        return Finding(outcome=Outcome.INCONCLUSIVE, message=message)
    against = min(slowness.comparison.log_evidence, measure_excess(slowness.new, slowness.allowed))
    allowed = max(slowness.allowed, slowness.old.share)
    outcome = weight.weigh(slowness.new, allowed=allowed, against=against)
    found, stable = (
        f"{_time(find_percentile_ms(each.times, slowness.percentile.percentile))} over {_count(each.answered)}"
        for each in (sample.new, sample.old)
    )
    limit = f": more than {slowness.percentile.max_ratio:g} times as long ({_tell(slowness.new, 'took longer than')} "
    limit += f"{_time(slowness.limit_ms)}; stable: {_show(slowness.old)}), and than chance explains"
    why = limit if outcome is Outcome.FAILED else ""
    return Finding(outcome=outcome, message=f"{name} is {found} requests (stable: {stable}){why}")


def _tell(part: Part, what: str) -> str:
    return f"{_show(part)} requests {what}"


def _show(part: Part) -> str:
    return f"{_percent(part.share)} % of {_count(part.of)}"


def _percent(share: float) -> str:
    """To one digit after the point, or two significant ones of what is less."""
    pct = share * 100
    return f"{pct:.1f}".removesuffix(".0") if pct >= 1 or not pct else f"{pct:.2g}"


def _count(number: int) -> str:
    return f"{number:,}"


def _time(time_ms: float) -> str:
    return f"{time_ms:.0f} ms" if time_ms < 1000 else f"{time_ms / 1000:.1f} s"
