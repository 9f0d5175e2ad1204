"""Releases that are made up: requests of two revisions, interval by interval, dealt out at random."""

import random
from collections import Counter
from dataclasses import dataclass

from forebay.plan.analysis import Analysis
from forebay.rollout.analysis.judge import judge
from forebay.rollout.analysis.sample import Sample, begin_sample
from forebay.rollout.analysis.tally import Tally, Times
from forebay.rollout.analysis.verdict import Outcome, Verdict

_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Revision:
    """How it answers: the share that fails, the median in ms and how much it varies, and how long the slowest take."""

    errors: float = 0.0
    median_ms: float = 40.0
    spread: float = 0.5
    slow: float = 0.0
    slowdown: float = 1.0

    def answer(self, dice: random.Random) -> tuple[bool, float]:
        time_ms = dice.lognormvariate(0, self.spread) * self.median_ms
        if dice.random() < self.slow:
            time_ms *= self.slowdown
        return dice.random() < self.errors, time_ms


@dataclass(kw_only=True)
class Traffic:
    """Requests come in bursts; sometimes all of them fail more often, or take longer, whoever answers."""

    old: Revision
    new: Revision
    weight_pct: int
    per_interval: int
    dice: random.Random

    def deal(self) -> tuple[Tally, Tally]:
        """The requests of one interval, to the new and to the old one."""
        number = int(self.per_interval * self.dice.uniform(0.5, 1.5))
        load = self.dice.uniform(0.8, 1.5)
        outage = self.dice.uniform(0.02, 0.1) if self.dice.random() < 0.1 else 0.0
        answers: tuple[list[tuple[bool, float]], list[tuple[bool, float]]] = ([], [])
        for _ in range(number):
            is_new = self.dice.random() * 100 < self.weight_pct
            failed, time_ms = (self.new if is_new else self.old).answer(self.dice)
            answers[not is_new].append((failed or self.dice.random() < outage, time_ms * load))
        new, old = (build_tally(each) for each in answers)
        return new, old

    def remember(self, number: int = 2000) -> Times:
        """What the old one answered before."""
        return build_tally([self.old.answer(self.dice) for _ in range(number)]).times


def build_tally(answers: list[tuple[bool, float]]) -> Tally:
    errors = sum(failed for failed, _ in answers)
    return Tally(requests=len(answers), errors=errors, times=Counter(round_time(time_ms) for _, time_ms in answers))


def round_time(time_ms: float) -> float:
    """As Envoy keeps it."""
    whole = int(time_ms)
    digits = max(0, len(str(whole)) - 2)
    return float(whole // 10**digits * 10**digits)


@dataclass(frozen=True, kw_only=True)
class Course:
    """What became of a step: the last verdict, and all its requests. `passed` is when it passed first: 0 is never."""

    verdict: Verdict
    passed: int
    sample: Sample


def run_step(analysis: Analysis, traffic: Traffic, *, looks: int, patient: bool = False) -> Course:
    """Look after each interval until the step is over; who is `patient` looks on when it has passed."""
    sample = begin_sample(analysis, traffic.remember())
    verdict, passed = judge(analysis, sample, steps=_STEPS), 0
    for look in range(1, looks + 1):
        sample = sample.after(*traffic.deal())
        verdict = judge(analysis, sample, steps=_STEPS)
        passed = passed or (look if verdict.outcome is Outcome.PASSED else 0)
        if verdict.outcome is Outcome.FAILED or (passed and not patient):
            break
    return Course(verdict=verdict, passed=passed, sample=sample)
