"""What is found of a rollout in the cluster: its instances, and what the status says of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forebay.controller.rollouts import (
    count_all,
    count_transformers,
    find_beside,
    is_as_told,
    measure_due_s,
    read_active,
    read_progress,
    without_instances,
)
from forebay.plan.names import COMPONENT_LABEL, WORKLOAD_LABEL
from forebay.plan.strategy import Strategy
from forebay.rollout.analysis.verdict import Outcome, Verdict
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, RevisionState, WorkloadState
from tests.unit.controller.test_sleepers import TARGET, TRANSFORMER

A = RevisionState(name="a", workloads=("p1", "t1"))
B = RevisionState(name="b", workloads=("p2", "t2"))
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
STATUS: dict[str, Any] = {
    "traffic": [
        {"revision": "a", "workload": "t1", "workloads": ["p1", "t1"], "weightPct": 90},
        {"revision": "b", "workload": "t2", "workloads": ["p2", "t2"], "weightPct": 10},
    ],
    "rollout": {
        "revision": "b", "phase": "Running", "step": 1, "steps": 2, "weightPct": 10, "since": "2026-11-22T07:59:00Z",
        "until": "2026-11-22T08:01:00Z",
    },
}  # fmt: skip


ANALYSIS: dict[str, Any] = {"verdict": "Passed", "message": "0 % failed", "requests": 3, "stableRequests": 4}


def deployment(*, wanted: int = 2, ready: int = 2, seen: int = 3) -> dict[str, Any]:
    status = {"observedGeneration": seen, "readyReplicas": ready, "updatedReplicas": wanted}
    return {"metadata": {"generation": 3}, "spec": {"replicas": wanted}, "status": status}


def pod(*, ready: bool, restarts: int, workload: str = "p1", **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "x", "labels": {WORKLOAD_LABEL: workload}, **metadata},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "predictor", "restartCount": restarts}],
        },
    }


@pytest.mark.parametrize(
    ("pods", "crashed"),
    [
        ([pod(ready=True, restarts=3)], 0),  # it is back
        ([pod(ready=False, restarts=0)], 0),  # it starts
        ([pod(ready=False, restarts=1), pod(ready=True, restarts=0)], 1),
        ([pod(ready=False, restarts=1, deletionTimestamp="2026-11-22T08:00:00Z")], 0),  # it goes
        ([pod(ready=False, restarts=1, workload="p2")], 0),  # another's
    ],
)
def test_who_crashed_is_told_from_who_starts(pods: list[dict[str, Any]], crashed: int) -> None:
    found = count_all({"p1": deployment(ready=1)}, pods)
    assert found == {"p1": WorkloadState(wanted=2, ready=1, crashed=crashed)}
    assert found["p1"].is_down is bool(crashed)


def test_what_is_not_told_yet_is_neither_up_nor_down() -> None:
    (found,) = count_all({"p1": deployment(seen=2)}, []).values()
    assert (found.is_up, found.is_down) == (False, False)


def test_the_status_is_read_as_it_was_written() -> None:
    assert read_active(STATUS) == A
    progress = read_progress(STATUS)
    since_s = (NOW - timedelta(minutes=1)).timestamp()
    assert progress == Progress(revision="b", phase=Phase.RUNNING, step=1, weight_pct=10, since_s=since_s)
    assert (read_active({}), read_progress({})) == (None, None)
    looked_at = {**STATUS["rollout"], "phase": "Failed", "attempt": 2, "message": "bad", "analysis": ANALYSIS}
    looked_at |= {"falls": 1, "partialFalls": 4}
    found = read_progress({"rollout": looked_at})
    assert found is not None
    assert (found.phase, found.attempt, found.message) == (Phase.FAILED, 2, "bad")
    assert (found.falls, found.partial_falls) == (1, 4)
    assert found.verdict == Verdict(outcome=Outcome.PASSED, message="0 % failed", requests=3, stable_requests=4)
    assert is_as_told(Decision(active=A, keep=frozenset(), target=B, progress=progress), STATUS)
    assert not is_as_told(Decision(active=A, keep=frozenset(), target=B), STATUS)


@pytest.mark.parametrize(("phase", "due_s"), [("Running", 60.0), ("Waiting", float("inf")), ("Paused", float("inf"))])
def test_the_next_look_is_when_the_step_is_due(phase: str, due_s: float) -> None:
    progress = Progress(revision="b", phase=Phase(phase), step=1, until_s=NOW.timestamp() + 60)
    assert measure_due_s(Decision(active=A, keep=frozenset(), progress=progress), Strategy(), NOW) == due_s
    assert measure_due_s(Decision(active=A, keep=frozenset()), Strategy(), NOW) == float("inf")


def test_who_has_ended_has_no_instance_and_no_autoscaler() -> None:
    manifests = [
        {"kind": kind, "metadata": {"name": name}, "spec": {"replicas": 2}}
        for kind in ("Service", "Deployment", "HorizontalPodAutoscaler")
        for name in ("p1", "p2")
    ]
    made = {
        (each["kind"], each["metadata"]["name"]): each["spec"]["replicas"]
        for each in without_instances(manifests, frozenset({"p2"}))
    }
    assert made == {
        ("Service", "p1"): 2, ("Service", "p2"): 2, ("Deployment", "p1"): 2, ("Deployment", "p2"): 0,
        ("HorizontalPodAutoscaler", "p1"): 2,
    }  # fmt: skip


def test_transformers_are_counted_until_they_are_stuck() -> None:
    labels = {COMPONENT_LABEL: "transformer", WORKLOAD_LABEL: "t1"}
    made: dict[str, Any] = {"metadata": {"name": "t1-x", "namespace": "a", "labels": labels}, "spec": {}}
    of_other: dict[str, Any] = {"metadata": {"labels": {COMPONENT_LABEL: "predictor", WORKLOAD_LABEL: "p1"}}}
    ends = {**made, "metadata": {**made["metadata"], "deletionTimestamp": "2026-11-22T08:00:00Z"}}
    deployments = {"t2": {"metadata": {"labels": labels}}, "p1": of_other}
    assert count_transformers(deployments, [made, ends, of_other], NOW) == {"t1": 2, "t2": 0}
    assert count_transformers(deployments, [made, ends], NOW + timedelta(hours=1)) == {"t1": 1, "t2": 0}


def test_who_serves_beside_the_target_is_scaled_as_what_follows_it() -> None:
    active = RevisionState(name="old", workloads=("digits-predictor-01d", "digits-shaper-01d", TRANSFORMER))
    (found,) = find_beside(TARGET, active)
    assert found.name == "digits-predictor-01d"
    assert found.workload == TARGET.workloads[0].workload
    assert find_beside(TARGET, None) == []
