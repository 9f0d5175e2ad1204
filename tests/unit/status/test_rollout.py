"""What is said of a rollout by steps: each phase in words, the same at any time, and once as an Event."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from forebay.observation import Observation
from forebay.rollout.analysis.verdict import Outcome, Verdict
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import RevisionState
from forebay.status import is_settled, summarize, tell_rollout
from tests.unit.status.scene import LATER, MANIFEST, NOW, Scene

ROLLOUT = "  rollout: {canary: {steps: [{weight: 5, pause: 10m}, {weight: 25}]}}\n"
OLD = RevisionState(name="0badcafe", workloads=("digits-predictor-0badcafe",))
SINCE_S = NOW.timestamp()


FOUND = "5.1 % of 412 requests failed (stable: 0.2 % of 3,900): more than chance explains"
BAD = Verdict(outcome=Outcome.FAILED, message=FOUND, requests=412, stable_requests=3900)
UNCLEAR = Verdict(outcome=Outcome.INCONCLUSIVE, message="12 of 100 requests so far", requests=12, stable_requests=90)
_OVER = (Phase.ABORTED, Phase.FAILED)


def observe(progress: Progress | None, *, ready: int = 2, routed_pct: int | None = None) -> Observation:
    scene = Scene(MANIFEST + ROLLOUT)
    scene.active, scene.ready = OLD, {"predictor": ready}
    found = scene.observe()
    own = RevisionState(name=found.target.name, workloads=(found.target.entry.name,))
    weight_pct = progress.weight_pct if progress and routed_pct is None else routed_pct or 0
    shares = {name: pct for name, pct in {OLD.entry: 100 - weight_pct, own.entry: weight_pct}.items() if pct}
    gateway = replace(found.gateway, routed=dict.fromkeys(shares, 2), weights_pct=shares)
    if progress:
        progress = replace(progress, revision=own.name)
    return replace(found, gateway=gateway, decision=replace(found.decision, target=own, progress=progress))


def at(phase: str, step: int = 1, weight_pct: int = 5, **times: Any) -> Progress:
    return Progress(revision="", phase=Phase(phase), step=step, weight_pct=weight_pct, **times)


def failed() -> Progress:
    return at("Failed", 1, 0, message=FOUND, verdict=BAD)


def condition(status: dict[str, Any], type_: str = "Ready") -> dict[str, Any]:
    return next(each for each in status["conditions"] if each["type"] == type_)


WORDS = {
    "Starting": (at("Starting", 0, 0), "RollingOut", "its instances are being started"),
    "Routing first": (at("Routing", 0, 0), "RollingOut", "about to let go of what was before"),
    "Routing": (at("Routing"), "RollingOut", "step 1 of 2: the gateway is about to send it 5 %"),
    "Running": (
        at("Running", since_s=SINCE_S, until_s=SINCE_S + 600), "RollingOut",
        "step 1 of 2: 5 % of the requests go to it, the next step from 2026-11-21T17:10:00Z on",
    ),
    "Running last": (
        at("Running", 2, 25, since_s=SINCE_S, until_s=SINCE_S), "RollingOut",
        "all of them from 2026-11-21T17:00:00Z on",
    ),
    "Waiting": (
        at("Waiting", 2, 25, since_s=SINCE_S), "RolloutPaused",
        "until `forebay promote digits -n vision` lets it go on, or spec.rollout.promote: {revision: ",
    ),
    "Paused": (at("Paused", since_s=SINCE_S), "RolloutPaused", "spec.rollout.paused holds it: `forebay resume digits"),
    "Paused first": (at("Paused", 0, 0), "RolloutPaused", "no requests go to it yet, and spec.rollout.paused"),
    "Unready": (at("Unready", since_s=SINCE_S), "RollingOut", "the next step when all its instances are ready"),
    "Down": (at("Down", 1, 0), "RollingOut", "it isn't up any more, and gets no requests until it is"),
    "Analyzing": (
        at("Analyzing", since_s=SINCE_S, until_s=SINCE_S, verdict=UNCLEAR), "RollingOut",
        "the next step when its analysis passes: 12 of 100 requests so far",
    ),
    "Failed": (failed(), "AnalysisFailed", f"failed in step 1: {FOUND}. It gets no requests: change the spec; `forebay "
        "retry digits -n vision` tries it again, as spec.rollout.retry: {revision: "),
    "Aborted": (at("Aborted", 0, 0), "RolloutAborted", "take that field away to try it again, as `forebay resume"),
    "Late": (at("Failed", 0, 0, message="too slow"), "RolloutFailed", "has failed: too slow. It gets no"),
}  # fmt: skip
# Of one revision in the place of another: see test_strategies.py.
OF_RECREATE = {Phase.HOLDING, Phase.ENDING}


@pytest.mark.parametrize("name", WORDS)
def test_every_phase_is_explained(name: str) -> None:
    progress, reason, words = WORDS[name]
    status = summarize(observe(progress), {}, NOW)
    said = condition(status)
    assert (said["status"], said["reason"]) == ("False", reason)
    assert words in said["message"]
    assert "still serving 0badcafe" in said["message"]
    assert condition(status, "Available")["status"] == "True"
    assert (condition(status, "Stalled")["status"] == "True") is (progress.phase in _OVER)
    assert (condition(status, "Progressing")["status"] == "True") is (progress.phase not in _OVER)
    assert summarize(observe(progress), status, LATER) == status, "whatever time it is"
    assert sum(each["weightPct"] for each in status["traffic"]) == 100
    assert status["activeRevision"] == "0badcafe"


def test_every_phase_is_here() -> None:
    assert {progress.phase for progress, *_ in WORDS.values()} == set(Phase) - OF_RECREATE


def test_what_is_wrong_with_its_instances_is_said_first() -> None:
    status = summarize(observe(at("Down", 1, 0), ready=0), {}, NOW)
    assert condition(status)["reason"] == "Starting"
    assert "failed in step 1, and gets no requests until it is up again" in condition(status)["message"]
    # But one that is to have more instances is in its step all the same.
    status = summarize(observe(at("Running", since_s=SINCE_S, until_s=SINCE_S + 60), ready=1), {}, NOW)
    assert condition(status)["reason"] == "RollingOut"
    status = summarize(observe(at("Unready", since_s=SINCE_S), ready=1), {}, NOW)
    assert condition(status)["reason"] == "Starting"


def test_nobody_asks_the_gateway_often_while_a_step_lasts() -> None:
    running = at("Running", since_s=SINCE_S, until_s=SINCE_S + 600)
    assert is_settled(summarize(observe(running), {}, NOW))
    assert not is_settled(summarize(observe(running, routed_pct=0), {}, NOW))
    assert not is_settled(summarize(observe(at("Routing"), routed_pct=5), {}, NOW))
    assert is_settled(summarize(observe(at("Aborted", 0, 0)), {}, NOW))
    assert is_settled(summarize(observe(failed()), {}, NOW))


def test_who_went_down_is_in_the_status() -> None:
    status = summarize(observe(at("Down", 1, 0, falls=1, partial_falls=4)), {}, NOW)["rollout"]
    assert (status["falls"], status["partialFalls"]) == (1, 4)


def test_the_analysis_is_in_the_status_with_its_figures() -> None:
    status = summarize(observe(failed()), {}, NOW)["rollout"]
    assert (status["phase"], status["message"], status["attempt"]) == ("Failed", FOUND, 1)
    assert status["analysis"] == {
        "verdict": "Failed", "message": FOUND, "requests": 412, "stableRequests": 3900
    }  # fmt: skip
    assert "analysis" not in summarize(observe(at("Running")), {}, NOW)["rollout"]
    assert condition(summarize(observe(failed()), {}, NOW), "Progressing")["reason"] == "AnalysisFailed"


def test_each_change_is_told_once() -> None:
    running = at("Running", since_s=SINCE_S, until_s=SINCE_S + 600)
    path = [
        (None, NOW, []),
        (at("Starting", 0, 0), NOW, []),
        (at("Routing"), NOW, ["RolloutStep"]),
        (running, NOW, []),
        (at("Down", 1, 0), NOW, ["RolloutHalted"]),
        (at("Routing"), NOW, ["RolloutContinued"]),
        (running, NOW, []),
        (at("Routing", 2, 25), NOW + timedelta(minutes=5), ["RolloutPromoted", "RolloutStep"]),
        (at("Waiting", 2, 25, since_s=SINCE_S), NOW, ["RolloutPaused"]),
        (at("Aborted", 0, 0), NOW, ["RolloutAborted"]),
        (at("Routing"), NOW, ["RolloutStep"]),
        (failed(), NOW, ["AnalysisFailed"]),
        (at("Starting", 0, 0), NOW, ["RolloutRetried"]),
        (at("Routing"), NOW, ["RolloutStep"]),
        (running, NOW, []),
        (at("Routing", 2, 25), NOW + timedelta(minutes=10), ["RolloutStep"]),
    ]
    before: dict[str, Any] = {}
    for progress, now, wanted in path:
        after = summarize(observe(progress), before, now)
        assert [each.reason for each in tell_rollout(before, after, now)] == wanted, progress
        assert not list(tell_rollout(after, after, now))
        before = after
