"""Steps in which the new revision gets copies, and what is made of its answers."""

import random
from dataclasses import replace

import pytest

from forebay.plan.analysis import Analysis
from forebay.plan.strategy import Step
from forebay.rollout.analysis.judge import judge
from forebay.rollout.analysis.sample import begin_sample
from forebay.rollout.analysis.tally import Tally
from forebay.rollout.analysis.verdict import Outcome, Verdict
from forebay.rollout.canary import advance
from forebay.rollout.decide import decide
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import GatewayState, RolloutState
from tests.unit.rollout.test_canary import BAD, GOOD, PART, UP, A, C, scene, strategy

STEPS = (Step(weight_pct=0, pause_s=60, shadow_pct=20), Step(weight_pct=10, pause_s=None))
PLAIN, JUDGED = strategy(steps=STEPS), strategy(steps=STEPS, analysis=Analysis())


def copies(shadow_pct: int | None = 20, *, instances: int = 1) -> GatewayState:
    """All requests go to the old one; the new one is there, and gets copies."""
    shadowed = {"t3": shadow_pct} if shadow_pct else {}
    return GatewayState(
        pods=1, answered=1, routed={"t1": 1, "t3": instances}, weights_pct={"t1": 100}, shadowed_pct=shadowed
    )


def at(phase: str, step: int = 1, since_s: float | None = None, *, shadow_pct: int = 20) -> Progress:
    return Progress(revision="c", phase=Phase(phase), step=step, shadow_pct=shadow_pct, since_s=since_s)


def seen(progress: Progress | None, gateway: GatewayState, **changes: object) -> RolloutState:
    return scene(progress, **{"gateway": gateway, "strategy": PLAIN, **changes})


RUNS, OVER = at("Running", since_s=99.0), at("Running", since_s=30.0)
BACK = at("Down", shadow_pct=0)
CASES = {
    "the first step": (scene(None, strategy=PLAIN), ("Routing", 1, 0, 20)),
    "not before the gateway copies": (seen(at("Routing"), copies(None)), ("Routing", 1, 0, 20)),
    "nor another share": (seen(at("Routing"), copies(19)), ("Routing", 1, 0, 20)),
    "nor to nobody": (seen(at("Routing"), copies(instances=0)), ("Routing", 1, 0, 20)),
    "its time begins": (seen(at("Routing"), copies()), ("Running", 1, 0, 20)),
    "the next step": (seen(OVER, copies()), ("Routing", 2, 10, 0)),
    "another share in the spec": (seen(replace(RUNS, shadow_pct=5), copies(5)), ("Routing", 1, 0, 20)),
    "it goes down": (seen(RUNS, copies(), workloads={"t3": replace(UP, crashed=1)}), ("Down", 1, 0, 0)),
    "and isn't whole again": (seen(BACK, copies(None), workloads={"t3": PART}), ("Down", 1, 0, 0)),
    "and comes back": (seen(BACK, copies(None)), ("Routing", 1, 0, 20)),
    "nothing is known yet": (seen(OVER, copies(), strategy=JUDGED), ("Analyzing", 1, 0, 20)),
    "it passes": (seen(OVER, copies(), strategy=JUDGED, verdict=GOOD), ("Routing", 2, 10, 0)),
    "it fails": (seen(RUNS, copies(), strategy=JUDGED, verdict=BAD), ("Failed", 1, 0, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    state, expected = CASES[name]
    found = advance(state, A)
    assert found
    assert (found.phase, found.step, found.weight_pct, found.shadow_pct) == expected


def test_no_client_gets_its_answers():
    decision = decide(scene(at("Running", since_s=99.0), gateway=copies(), strategy=PLAIN))
    assert decision.shares_pct == ((A, 100),)
    assert decision.preview == C


ANALYSIS = Analysis(latency=())


def compare(*parts: tuple[int, int], analysis: Analysis = ANALYSIS) -> Verdict:
    """Of so many copies so many differ, interval by interval."""
    sample = begin_sample(analysis, {})
    for bad, of in parts:
        sample = sample.after(Tally(requests=of, differed=bad), Tally(requests=of))
    return judge(analysis, sample, steps=3, copied=True)


@pytest.mark.parametrize(
    ("parts", "outcome", "message"),
    [
        ([(0, 99)], Outcome.INCONCLUSIVE, "99 of 100 copies compared so far"),
        ([(12, 50)], Outcome.FAILED, "12 of 50 answers to copies differ (24 %): fewer than the 99 % of agreement.min"),
        ([(0, 100), (1, 200)], Outcome.PASSED, "1 of 300 answers to copies differ (0.33 %)"),
        ([(2, 150)], Outcome.INCONCLUSIVE, "it takes more requests to tell: 2 of 150 answers to copies differ (1.3 %)"),
    ],
)
def test_agreement(parts, outcome, message):
    verdict = compare(*parts)
    assert verdict.outcome is outcome
    assert verdict.message.startswith(message)


def test_all_must_agree_or_none_need():
    assert compare((1, 5000), analysis=replace(ANALYSIS, min_agreement_pct=100.0)).outcome is Outcome.FAILED
    assert compare((5000, 5000), analysis=replace(ANALYSIS, min_agreement_pct=0.0)).outcome is Outcome.PASSED


@pytest.mark.parametrize(("share", "outcome"), [(0.002, Outcome.PASSED), (0.08, Outcome.FAILED)])
def test_however_often_it_is_looked_at(share, outcome):
    """A good one is never failed, a bad one never passed."""
    for seed in range(100):
        dice, parts = random.Random(seed), []
        for _ in range(20):
            parts.append((sum(dice.random() < share for _ in range(100)), 100))
            found = compare(*parts).outcome
            assert found in {outcome, Outcome.INCONCLUSIVE}
        assert found is outcome, seed


def test_a_copy_that_takes_longer():
    analysis = Analysis()
    sample = begin_sample(analysis, {10.0: 2000})
    for _ in range(3):
        sample = sample.after(Tally(requests=500, times={40.0: 500}), Tally(requests=500, times={10.0: 500}))
    verdict = judge(analysis, sample, steps=1, copied=True)
    assert verdict.outcome is Outcome.FAILED
    assert "times as long" in verdict.message
