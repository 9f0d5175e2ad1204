"""What is said of a revision that can be looked at, and of one that takes the place of another."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from forebay.observation import Observation
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import RevisionState, Warm
from forebay.status import is_settled, summarize, tell_rollout
from tests.unit.status.scene import LATER, MANIFEST, NOW, Scene
from tests.unit.status.test_rollout import OF_RECREATE, OLD, condition

LOOK = "  rollout: {blueGreen: {}, scaleDownDelay: 10m}\n"
SWAP = "  rollout: {recreate: {hold: 1m}}\n"
SINCE_S = NOW.timestamp()
URL = "http://gateway/vision/digits@preview"


def observe(progress: Progress | None, rollout: str = LOOK, *, ready: int = 2, **gateway: Any) -> Observation:
    scene = Scene(MANIFEST + rollout)
    scene.active, scene.ready = OLD, {"predictor": ready}
    found = scene.observe()
    own = RevisionState(name=found.target.name, workloads=(found.target.entry.name,))
    routes = {"routed": {OLD.entry: 2, own.entry: 2}, "weights_pct": {OLD.entry: 100}} | gateway
    if progress:
        progress = replace(progress, revision=own.name)
    decision = replace(found.decision, target=own, progress=progress)
    return replace(found, gateway=replace(found.gateway, **routes), decision=decision, preview_url=URL)


def at(phase: str, step: int = 1, **fields: Any) -> Progress:
    return Progress(revision="", phase=Phase(phase), step=step, **fields)


def held(phase: str) -> Progress:
    return at(phase, 0, held_s=SINCE_S, since_s=SINCE_S, until_s=SINCE_S + 600)


WORDS = {
    "Routing": (at("Routing"), LOOK, "RollingOut", "the gateway is about to follow"),
    "Running": (
        at("Running", since_s=SINCE_S, until_s=SINCE_S + 60), LOOK, "RollingOut",
        f"{URL} leads to it, and it takes over from 2026-11-21T17:01:00Z on",
    ),
    "Waiting": (at("Waiting"), LOOK, "RolloutPaused", "it takes over when `forebay promote digits -n vision` lets it"),
    "Paused": (at("Paused"), LOOK, "RolloutPaused", "leads to it, and spec.rollout.paused holds it"),
    "Unready": (at("Unready"), LOOK, "RollingOut", "takes over when all its instances are ready"),
    "Down": (at("Down"), LOOK, "RollingOut", "can't be looked at until it is"),
    "Holding": (held("Holding"), SWAP, "RollingOut", "the gateway is about to hold the requests"),
    "Holding later": (
        at("Holding", 0), SWAP, "RollingOut",
        "the gateway is about to hold the requests, but not every pod of it tells what it routes",
    ),
    "Ending": (held("Ending"), SWAP, "RollingOut", "requests wait; the instances of 0badcafe end first"),
    "held Routing": (held("Routing"), SWAP, "RollingOut", "the gateway is about to lead them there"),
}  # fmt: skip


def test_one_that_failed_by_steps_is_explained_as_such() -> None:
    """Whatever way is written by then."""
    failed = at("Failed", 2, message="5 % failed")
    assert "5 % failed" in summarize(observe(failed), {}, NOW)["conditions"][0]["message"]


@pytest.mark.parametrize("name", WORDS)
def test_every_phase_is_explained(name: str) -> None:
    progress, rollout, reason, words = WORDS[name]
    status = summarize(observe(progress, rollout, pods=3 if "later" in name else 2), {}, NOW)
    said = condition(status)
    assert (said["status"], said["reason"]) == ("False", reason)
    assert words in said["message"]
    assert "step" not in said["message"].replace("failed in step 1", "")
    assert "still serving 0badcafe" in said["message"]
    assert condition(status, "Available")["status"] == "True"
    assert condition(status, "Stalled")["status"] == "False"
    assert status["rollout"]["preview"] == URL
    assert status["rollout"]["workload"] == status["components"][0]["workload"]


def test_unwanted_ones_have_no_preview() -> None:
    for phase in ("Aborted", "Failed"):
        status = summarize(observe(at(phase, 0)), {}, NOW)
        assert (status["rollout"]["preview"], status["rollout"]["workload"]) == ("", "")


def test_requests_that_wait_are_answered_later_but_not_for_ever() -> None:
    found = observe(held("Starting"), SWAP, ready=0, instances=0, routed={OLD.entry: 0})
    status = summarize(found, {}, NOW + timedelta(seconds=59))
    said = condition(status, "Available")
    assert said["status"] == "True"
    assert "requests wait while the instances of revision" in said["message"]
    assert status["rollout"]["heldSince"] == "2026-11-21T17:00:00Z"
    assert condition(summarize(found, status, NOW + timedelta(seconds=60)), "Available")["status"] == "False"
    assert condition(status)["reason"] == "Starting"


def test_one_that_comes_back_is_not_settled() -> None:
    failed = at("Failed", 0, message="too slow", held_s=SINCE_S, instances={OLD.entry: 2})
    status = summarize(observe(failed, SWAP), {}, NOW)
    assert status["rollout"]["instancesBefore"] == {OLD.entry: 2}
    assert status["rollout"]["message"] == "too slow"
    assert not is_settled(status)
    assert is_settled(summarize(observe(at("Failed", 0)), {}, NOW))


def test_who_waits_for_a_gpu_is_told_how_to_make_room() -> None:
    for rollout, is_told in ((LOOK, True), (SWAP, False)):
        scene = Scene(MANIFEST + rollout)
        scene.active, scene.ready = OLD, {"predictor": 0}
        pod = scene.add_pod("gpu")
        said = condition(scene.summarize())
        assert said["reason"] == "WaitingForGPU"
        assert f"{pod['metadata']['name']} waits for " in said["message"]
        assert ("`rollout: {recreate: {}}` ends the instances" in said["message"]) is is_told


def test_who_is_kept_is_told() -> None:
    found = observe(None)
    own = RevisionState(name=found.target.name, workloads=(found.target.entry.name,))
    warm = Warm(revision=OLD, since_s=SINCE_S)
    decision = replace(found.decision, active=own, warm=warm, warm_until_s=SINCE_S + 600)
    status = summarize(replace(found, decision=decision), {}, NOW)
    assert status["warm"] == {
        "revision": "0badcafe", "workloads": list(OLD.workloads), "since": "2026-11-21T17:00:00Z",
        "until": "2026-11-21T17:10:00Z",
    }  # fmt: skip


def test_each_change_is_told_once() -> None:
    path = [
        (None, LOOK, []),
        (at("Starting", 0), LOOK, []),
        (at("Waiting"), LOOK, ["RolloutPreview", "RolloutPaused"]),
        (at("Down"), LOOK, ["RolloutHalted"]),
        (None, LOOK, []),
        (at("Holding", 0), SWAP, []),
        (held("Holding"), SWAP, ["RolloutHolding"]),
        (held("Ending"), SWAP, []),
        (held("Starting"), SWAP, []),
        (replace(held("Failed"), message="x"), SWAP, ["RolloutFailed"]),
        (at("Failed", 0, message="x"), SWAP, []),
    ]
    before: dict[str, Any] = {}
    for progress, rollout, wanted in path:
        after = summarize(observe(progress, rollout), before, NOW)
        assert [each.reason for each in tell_rollout(before, after, LATER)] == wanted, progress
        assert not list(tell_rollout(after, after, LATER))
        before = after


def test_every_phase_of_a_replacement_is_here() -> None:
    """The others: see test_rollout.py."""
    assert {progress.phase for progress, *_ in WORDS.values()} >= OF_RECREATE
