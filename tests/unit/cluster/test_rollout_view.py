"""What `forebay rollout` shows of what it found, in a terminal and in a log."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from forebay.cluster.rollout_view import Seen, build_line, build_view, find_end, is_over

Json = dict[str, Any]
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
SHARES = (("1111aaaa", "digits-predictor-1", 90), ("2222bbbb", "digits-predictor-2", 10))


def at(delta_s: int) -> str:
    return (NOW + timedelta(seconds=delta_s)).isoformat()


def see(phase: str = "Running", **changes: Any) -> Seen:
    rollout = {"revision": "2222bbbb", "phase": phase, "step": 1, "steps": 2, "weightPct": 10, "routedPct": 9,
               "since": at(-60), "until": at(90)}  # fmt: skip
    ready = {"type": "Ready", "status": "False", "reason": "RollingOut", "message": "still serving 1111aaaa"}
    status = {
        "observedGeneration": 3, "conditions": [ready], "rollout": rollout, "activeRevision": "1111aaaa",
        "targetRevision": "2222bbbb",
        "traffic": [{"revision": name, "workloads": [each], "weightPct": pct} for name, each, pct in SHARES],
    }  # fmt: skip
    workloads = [
        {"metadata": {"name": name}, "spec": {"replicas": 2}, "status": {"readyReplicas": 2}} for _, name, _ in SHARES
    ]
    pod = {
        "metadata": {"name": "digits-predictor-2-x", "creationTimestamp": at(-70)},
        "spec": {"containers": [{}], "nodeName": "node-1"},
        "status": {"phase": "Running", "containerStatuses": [{"name": "predictor", "ready": True}]},
    }
    deployment = {
        "metadata": {"name": "digits", "namespace": "vision", "generation": 3},
        "spec": {"rollout": {"canary": {"steps": [{"weight": 10, "pause": "2m"}, {"weight": 50}]}}},
        "status": status | changes,
    }
    return Seen(deployment=deployment, workloads=workloads, pods=[pod], now=NOW)


def show(seen: Seen) -> list[str]:
    console = Console(width=200, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(build_view(seen), markup=False, highlight=False)
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def test_a_rollout_by_steps_in_full() -> None:
    assert show(see()) == [
        "vision/digits step 1 of 2, Running",
        "still serving 1111aaaa",
        "",
        "since 2026-11-22T07:59:00+00:00 (60s)",
        "next step 2026-11-22T08:01:30+00:00 (in 90s)",
        "STEP WEIGHT PAUSE",
        "1 10 % 2m Running",
        "2 50 % until promoted",
        "",
        "REVISION ROLE WANTED ACTUAL INSTANCES WORKLOADS",
        "1111aaaa serves 90 % 91 % 2/2 digits-predictor-1",
        "2222bbbb new 10 % 9 % 2/2 digits-predictor-2",
        "",
        "POD READY STATE RESTARTS AGE NODE",
        "digits-predictor-2-x 1/1 Running 0 70s node-1",
    ]


def test_the_same_in_a_line() -> None:
    assert build_line(see()) == (
        "step 1 of 2, Running: 1111aaaa 90 % (91 % routed) 2/2, 2222bbbb 10 % (9 % routed) 2/2: still serving 1111aaaa"
    )


@pytest.mark.parametrize(
    ("changes", "over"),
    [
        ({}, False),
        ({"rollout": None}, False),
        ({"rollout": None, "traffic": [{"revision": "2222bbbb"}]}, True),
        ({"rollout": None, "traffic": [{"revision": "2222bbbb"}], "observedGeneration": 2}, False),
        ({"rollout": None, "traffic": []}, False),
    ],
)
def test_it_is_over_when_what_is_asked_for_now_gets_all(changes: Json, over: bool) -> None:
    assert is_over(see(**changes).deployment) is over


@pytest.mark.parametrize(
    ("phase", "generation", "end"),
    [
        ("Running", 3, ""),
        ("Paused", 3, ""),
        ("Aborted", 3, "was aborted: 1111aaaa serves"),
        ("Failed", 3, "failed: 1111aaaa serves"),
        ("Aborted", 2, ""),
    ],
)
def test_it_ends_where_it_goes_no_further(phase: str, generation: int, end: str) -> None:
    assert find_end(see(phase, observedGeneration=generation).deployment) == end


@pytest.mark.parametrize(
    ("reason", "stalled", "generation", "end"),
    [
        ("UnknownModelVersion", "True", 3, "can't begin: still serving 1111aaaa"),
        ("InvalidSpec", "True", 3, "can't begin: still serving 1111aaaa"),
        ("RollbackFailed", "True", 3, "can't begin: still serving 1111aaaa"),
        ("UnknownModelVersion", "True", 2, ""),
        # It may be asked again.
        ("ModelRegistryUnavailable", "False", 3, ""),
    ],
)
def test_one_that_cannot_begin_is_not_over(reason: str, stalled: str, generation: int, end: str) -> None:
    said = {"reason": reason, "message": "still serving 1111aaaa"}
    conditions = [{"type": "Ready", "status": "False", **said}, {"type": "Stalled", "status": stalled, **said}]
    seen = see(
        rollout=None, traffic=[{"revision": "1111aaaa"}], targetRevision="1111aaaa", conditions=conditions,
        observedGeneration=generation,
    )  # fmt: skip
    assert not is_over(seen.deployment)
    assert find_end(seen.deployment) == end
