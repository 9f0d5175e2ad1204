"""Which steps are judged, and what the answers of the gateway's pods make of a verdict."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from forebay.api.drill import Drill
from forebay.controller.analyses import Break, Case, Watch, find_break, find_watch, take
from forebay.kube.gateways import Readings, read_counts
from forebay.kube.holdings import Owner
from forebay.plan.analysis import Analysis
from forebay.plan.strategy import Step, Strategy
from forebay.rollout.analysis.sample import begin_sample
from forebay.rollout.analysis.tally import Reading, Tally
from forebay.rollout.analysis.verdict import DRILLED, Outcome
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, RevisionState

OWNER = Owner("ns", "md")
OLD, NEW = (RevisionState(name=name, workloads=(f"p-{name}", f"t-{name}")) for name in ("old", "new"))
ANALYSIS = Analysis()
STRATEGY = Strategy(steps=(Step(weight_pct=10, pause_s=60), Step(weight_pct=50, pause_s=60)), analysis=ANALYSIS)
PROGRESS = Progress(revision="new", phase=Phase.RUNNING, step=1, weight_pct=10, since_s=1000.0)
WATCH = Watch(
    analysis=ANALYSIS,
    revision="new",
    step=1,
    steps=2,
    attempt=1,
    since_s=1000.0,
    stable="old",
    new="t-new",
    old="t-old",
)


def decide(progress: Progress | None) -> Decision:
    return Decision(active=OLD, keep=frozenset(), target=NEW, progress=progress)


def test_a_step_is_judged_while_the_gateway_gives_it_its_share() -> None:
    assert find_watch(STRATEGY, decide(PROGRESS)) == WATCH
    assert find_watch(replace(STRATEGY, analysis=None), decide(PROGRESS)) is None
    assert find_watch(STRATEGY, decide(None)) is None
    assert find_watch(STRATEGY, decide(replace(PROGRESS, since_s=None))) is None
    for phase in (Phase.DOWN, Phase.FAILED, Phase.ABORTED, Phase.STARTING):
        assert find_watch(STRATEGY, decide(replace(PROGRESS, phase=phase))) is None


def test_it_is_not_judged_before_it_is_warm() -> None:
    assert WATCH.begin_s == 1000.0
    assert replace(WATCH, analysis=Analysis(delay_s=60.0)).begin_s == 1060.0


@pytest.mark.parametrize("changes", [{"step": 2}, {"attempt": 2}, {"since_s": 1001.0}, {"revision": "other"}])
def test_a_verdict_is_of_one_step_alone(changes: dict[str, object]) -> None:
    assert WATCH.is_of(PROGRESS)
    assert not WATCH.is_of(replace(PROGRESS, **changes))
    assert not WATCH.is_of(None)


def begin() -> Case:
    return Case(watch=WATCH, due_s=0.0, readings={}, sample=begin_sample(ANALYSIS, {}))


def read(new: int, old: int, *, errors: int = 0, uptime_s: float = 5000.0) -> Readings:
    tallies = {
        "t-new": Tally(requests=new, errors=errors, times={40.0: new}),
        "t-old": Tally(requests=old, times={40.0: old}),
    }
    return {OWNER: Reading(uptime_s=uptime_s, tallies=tallies)}


def test_what_came_before_the_step_tells_how_long_answers_take_and_nothing_else() -> None:
    case = begin()
    verdict = take(case, OWNER, {"a": read(10, 4000, errors=10)}, 1000.0)
    assert (verdict.outcome, verdict.requests) == (Outcome.INCONCLUSIVE, 0)
    verdict = take(case, OWNER, {"a": read(410, 8000, errors=10, uptime_s=5030.0)}, 1030.0)
    assert verdict.outcome is Outcome.PASSED
    assert (verdict.requests, verdict.stable_requests) == (400, 4000)


def test_all_pods_count_together_and_one_that_began_anew_loses_nothing_else() -> None:
    case = begin()
    take(case, OWNER, {"a": read(0, 4000), "b": read(0, 4000)}, 1000.0)
    verdict = take(case, OWNER, {"a": read(50, 4500, uptime_s=5030), "b": read(20, 180, uptime_s=3)}, 1030.0)
    assert (verdict.requests, verdict.stable_requests) == (70, 680)
    # A pod that came since the step began.
    answers = {"a": read(50, 4500, uptime_s=5060), "b": read(20, 180, uptime_s=33), "c": read(5, 50, uptime_s=20)}
    verdict = take(case, OWNER, answers, 1060.0)
    assert (verdict.requests, verdict.stable_requests) == (75, 730)


def test_missing_counters_are_nobody_s_fault() -> None:
    case = begin()
    verdict = take(case, OWNER, {}, 1000.0)
    assert verdict.message == "Paused by missing metrics: no pod of the gateway tells what was counted"
    verdict = take(case, OWNER, {"a": read(0, 4000), "b": read(0, 4000)}, 1000.0)
    verdict = take(case, OWNER, {"a": read(400, 8000, errors=400, uptime_s=5030), "b": None}, 1030.0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.message == "Paused by missing metrics: 1 of 2 pods of the gateway don't tell what was counted"
    verdict = take(
        case, OWNER, {"a": read(400, 8000, errors=400, uptime_s=5060), "b": read(0, 4000, uptime_s=5060)}, 1060.0
    )
    assert verdict.outcome is Outcome.FAILED, "what was counted meanwhile is not forgotten"


def test_a_pod_s_answer() -> None:
    told = {"requests": 3, "errors": 2, "timeouts": 1, "refusals": 1, "timesMs": {"0": 1, "12": 2}}
    found = read_counts({"counts": {"ns/md": {"w": told}}, "uptimeS": 7})
    tally = Tally(requests=3, errors=2, timeouts=1, refusals=1, times={0.0: 1, 12.0: 2})
    assert found == {OWNER: Reading(uptime_s=7.0, tallies={"w": tally})}
    for broken in (None, {}, {"counts": {"ns/md": {"w": {}}}, "uptimeS": 7}, {"counts": [], "uptimeS": 7}):
        assert read_counts(broken) is None


BROKEN = Break(since_s=1060.0, until_s=1120.0)


def write(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"revision": "new"}, BROKEN),
        ({"revision": "old"}, BROKEN),
        ({"revision": "other"}, Break()),
        # Until the last answer that it made late.
        ({"revision": "old", "fault": "Slow", "delay": "2s"}, replace(BROKEN, until_s=1122.0)),
        ({"revision": "old", "fault": "Slow"}, replace(BROKEN, until_s=1125.0)),
    ],
)
def test_when_a_drill_breaks_one_of_both(changes: dict[str, str], found: Break) -> None:
    told = {"fault": "PredictorDown", "since": write(1060.0), "until": write(1120.0)} | changes
    assert find_break(Drill.model_validate(told), WATCH) == found
    assert find_break(None, WATCH) == Break()


def test_what_a_drill_makes_of_requests_is_no_evidence() -> None:
    case = begin()
    case.broken = BROKEN
    take(case, OWNER, {"a": read(0, 4000)}, 1000.0)
    assert take(case, OWNER, {"a": read(400, 8000, uptime_s=5030.0)}, 1030.0).outcome is Outcome.PASSED
    assert not case.rest(1059.0)
    assert case.rest(1060.0)
    assert (case.verdict, case.due_s) == (DRILLED, 1120.0)
    assert not case.rest(1120.0)
    verdict = take(case, OWNER, {"a": read(800, 9000, errors=400, uptime_s=5120.0)}, 1120.0)
    assert (verdict.outcome, verdict.requests) == (Outcome.INCONCLUSIVE, 0)
    assert not case.sample.history, "answers were late on purpose"
    take(case, OWNER, {"a": read(1200, 13000, errors=400, uptime_s=5150.0)}, 1150.0)
    verdict = take(case, OWNER, {"a": read(1600, 17000, errors=400, uptime_s=5180.0)}, 1180.0)
    assert (verdict.outcome, verdict.requests, verdict.stable_requests) == (Outcome.PASSED, 800, 8000)
