"""Good releases pass, bad ones fail, and with few requests nobody can tell."""

import random
from dataclasses import replace

import pytest

from forebay.plan.analysis import Analysis, Percentile, Share
from forebay.rollout.analysis.judge import judge
from forebay.rollout.analysis.sample import begin_sample
from forebay.rollout.analysis.tally import Tally
from forebay.rollout.analysis.verdict import Outcome
from tests.unit.rollout.analysis.releases import Revision, Traffic, run_step

ANALYSIS = Analysis()
GOOD = Revision(errors=0.005)


def deal(new: Revision, *, weight_pct: int, per_interval: int, seed: int) -> Traffic:
    """Of which the new one gets so many requests in an interval."""
    dice, number = random.Random(seed), per_interval * 100 // weight_pct
    return Traffic(old=GOOD, new=new, weight_pct=weight_pct, per_interval=number, dice=dice)


def test_200_of_200_good_releases_pass() -> None:
    """And none of 20 looks at each fails it, though everybody has outages and more load now and then."""
    courses = [
        run_step(
            ANALYSIS, deal(GOOD, seed=seed, weight_pct=(5, 20, 50)[seed % 3], per_interval=100), looks=20, patient=True
        )
        for seed in range(200)
    ]
    assert not [each.verdict for each in courses if not each.passed or each.verdict.outcome is Outcome.FAILED]


BAD = {
    "5 % errors": replace(GOOD, errors=0.05),
    "all fail": replace(GOOD, errors=1.0),
    "p99 x 3": replace(GOOD, slow=0.05, slowdown=6.3),
    "all x 3": replace(GOOD, median_ms=GOOD.median_ms * 3),
}


@pytest.mark.parametrize("weight_pct", [5, 20, 50])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_release_fails_and_no_look_passes_it(name: str, weight_pct: int) -> None:
    needed = []
    for seed in range(10):
        course = run_step(ANALYSIS, deal(BAD[name], seed=seed, weight_pct=weight_pct, per_interval=100), looks=100)
        assert course.verdict.outcome is Outcome.FAILED, (seed, course.verdict)
        needed.append(course.sample.new.requests)
    print(f"{name} at {weight_pct} %: found after {sorted(needed)[5]} requests in the middle, {max(needed)} at most")


def test_too_few_requests_are_waited_for() -> None:
    sample = begin_sample(ANALYSIS, {40.0: 2000})
    assert judge(ANALYSIS, sample, steps=1).message == "0 of 100 requests so far"
    few = sample.after(Tally(requests=99, times={40.0: 99}), Tally(requests=900, times={40.0: 900}))
    assert judge(ANALYSIS, few, steps=1).outcome is Outcome.INCONCLUSIVE
    some = few.after(Tally(requests=20, times={40.0: 20}), Tally(requests=180, times={40.0: 180}))
    verdict = judge(ANALYSIS, some, steps=1)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.message.startswith(
        "it takes more requests to tell: 0 % of 119 requests failed (stable: 0 % of 1,080)"
    )
    many = some.after(Tally(requests=200, times={40.0: 200}), Tally(requests=1800, times={40.0: 1800}))
    verdict = judge(ANALYSIS, many, steps=1)
    assert verdict.outcome is Outcome.PASSED
    assert (verdict.requests, verdict.stable_requests) == (319, 2880)
    assert verdict.message == (
        "0 % of 319 requests failed (stable: 0 % of 2,880); p99 is 41 ms over 319 requests (stable: 41 ms over 2,880)"
    )


def test_one_unlucky_error_fails_nobody_and_holds_nobody_for_ever() -> None:
    sample = begin_sample(ANALYSIS, {40.0: 2000})
    sample = sample.after(Tally(requests=50, errors=1, times={40.0: 50}), Tally(requests=950, times={40.0: 950}))
    assert judge(ANALYSIS, sample, steps=1).outcome is Outcome.INCONCLUSIVE
    sample = sample.after(Tally(requests=400, times={40.0: 400}), Tally(requests=7600, times={40.0: 7600}))
    assert judge(ANALYSIS, sample, steps=1).outcome is Outcome.PASSED


def test_what_fails_is_said_with_figures() -> None:
    sample = begin_sample(ANALYSIS, {40.0: 2000})
    new = Tally(requests=412, errors=21, times={40.0: 412})
    sample = sample.after(new, Tally(requests=3900, errors=8, times={40.0: 3900}))
    verdict = judge(ANALYSIS, sample, steps=2)
    assert verdict.outcome is Outcome.FAILED
    assert verdict.message == "5.1 % of 412 requests failed (stable: 0.21 % of 3,900): more than chance explains"
    slow = Tally(requests=412, times={40.0: 380, 120.0: 32})
    verdict = judge(ANALYSIS, begin_sample(ANALYSIS, {40.0: 2000}).after(slow, replace(new, errors=0)), steps=2)
    assert verdict.message == (
        "p99 is 130 ms over 412 requests (stable: 41 ms over 412): more than 1.5 times as long (7.8 % of 412 requests "
        "took longer than 62 ms; stable: 0 % of 412), and than chance explains"
    )


def test_limits_that_are_absolute() -> None:
    analysis = Analysis(
        errors=Share(max_pct=1.0), latency=(Percentile(percentile=95, max_ms=100),), refusals=Share(max_pct=0.0)
    )
    sample = begin_sample(analysis, {})
    old = Tally(requests=100, errors=50, refusals=50, times={900.0: 100})
    good = sample.after(Tally(requests=1000, errors=5, times={40.0: 990, 900.0: 10}), old)
    assert judge(analysis, good, steps=1).outcome is Outcome.PASSED
    bad = sample.after(Tally(requests=1000, errors=50, refusals=1, times={40.0: 800, 900.0: 200}), old)
    verdict = judge(analysis, bad, steps=1)
    assert verdict.outcome is Outcome.FAILED
    assert verdict.message == (
        "5 % of 1,000 requests failed: more than the 1 % of errorRate.max, and more than chance explains; "
        "0.1 % of 1,000 requests were refused: more than the 0 % of refusals.max, and more than chance explains; "
        "p95 is 910 ms over 1,000 requests: longer than the 100 ms of latency.max, and more than chance explains"
    )


def test_where_the_stable_one_has_had_no_requests_its_times_are_waited_for() -> None:
    sample = begin_sample(ANALYSIS, {})
    for _ in range(2):
        sample = sample.after(Tally(requests=400, times={40.0: 400}), Tally(requests=100, times={40.0: 100}))
    verdict = judge(ANALYSIS, sample, steps=1)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "200 requests to the stable revision are too few to know its p99" in verdict.message
    for _ in range(4):
        sample = sample.after(Tally(requests=400, times={40.0: 400}), Tally(requests=100, times={40.0: 100}))
    assert judge(ANALYSIS, sample, steps=1).outcome is Outcome.PASSED


def test_what_the_stable_one_has_been_through_counts_only_until_there_is_more() -> None:
    sample = begin_sample(ANALYSIS, {30000.0: 2000})
    for _ in range(6):
        sample = sample.after(Tally(requests=200, times={120.0: 200}), Tally(requests=200, times={40.0: 200}))
    verdict = judge(ANALYSIS, sample, steps=2)
    assert verdict.outcome is Outcome.FAILED
    assert verdict.message.startswith(
        "p99 is 130 ms over 1,200 requests (stable: 41 ms over 1,200): more than 1.5 times"
    )


def test_a_ratio_of_errors_that_is_allowed() -> None:
    analysis = Analysis(errors=Share(max_ratio=3.0), latency=())
    sample = begin_sample(analysis, {})
    for _ in range(10):
        sample = sample.after(Tally(requests=200, errors=5), Tally(requests=200, errors=2))
    assert judge(analysis, sample, steps=1).outcome is Outcome.PASSED
    for _ in range(10):
        sample = sample.after(Tally(requests=200, errors=40), Tally(requests=200, errors=2))
    assert judge(analysis, sample, steps=1).message == (
        "11.2 % of 4,000 requests failed (stable: 1 % of 4,000): more than 3 times as many, and than chance explains"
    )
