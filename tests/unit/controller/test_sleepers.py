"""Who sleeps on, and who is woken, by what there is and what was told before: pure."""

from pathlib import Path
from typing import Any

import pytest

from forebay.api.load import load_text
from forebay.controller.sleepers import Rousing, read_vigil, rouse
from forebay.plan.resolve import Serving, resolve
from forebay.plan.site import Site
from forebay.plan.workloads import Revision, build_revision
from forebay.rollout.state import GatewayState, RevisionState, RolloutState, WorkloadState
from forebay.scaling.idle import Vigil

Json = dict[str, Any]
TEXT = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: digits, namespace: vision}
spec:
  model: {uri: "s3://models/digits"}
  predictor: {triton: {}, autoscaling: {min: 0, max: 4, idle: 1m}}
  transformer: {custom: {script: "class A:\\n  def preprocess(self, i): return i\\n"}, replicas: 3}
"""
OLD = RevisionState(name="old", workloads=("digits-predictor-01d", "digits-transformer-01d"))


def read(text: str = TEXT) -> tuple[Serving, Revision]:
    (item,) = load_text(text, file="m.yaml", folder=Path())
    serving = resolve(item)
    return serving, build_revision(serving, Site())


SERVING, TARGET = read()
PREDICTOR, TRANSFORMER = (each.name for each in TARGET.workloads)
OWN = RevisionState(name=TARGET.name, workloads=(PREDICTOR, TRANSFORMER))


def tell(*, asleep: str = "", ready: str = "Ready", active: str = TARGET.name) -> Json:
    """A status that was written before."""
    conditions = [{"type": "Ready", "status": "True", "reason": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    if asleep:
        time = "2026-01-01T00:01:00Z"
        conditions.append({"type": "Asleep", "status": asleep, "reason": "Awake", "lastTransitionTime": time})
    return {"conditions": conditions, "activeRevision": active, "targetRevision": TARGET.name}


def look(
    numbers: dict[str, int], previous: Json, *, active: RevisionState | None = OWN, serving: Serving = SERVING
) -> Rousing:
    workloads = {name: WorkloadState(wanted=number, ready=0) for name, number in numbers.items()}
    own = RevisionState(name=TARGET.name, workloads=OWN.workloads)
    state = RolloutState(target=own, active=active, workloads=workloads, gateway=GatewayState(routed={}))
    return rouse(serving, TARGET, state, previous)


ASLEEP = {PREDICTOR: 0, TRANSFORMER: 0}


@pytest.mark.parametrize("previous", [tell(asleep="True", ready="Asleep"), tell(asleep="False"), {}])
def test_what_has_no_instance_sleeps_on_whatever_was_told(previous: Json) -> None:
    assert look(ASLEEP, previous) == Rousing(asleep=True)


def test_what_is_awake_is_left_alone() -> None:
    assert look({PREDICTOR: 2, TRANSFORMER: 3}, tell(asleep="False")) == Rousing()


@pytest.mark.parametrize("numbers", [{PREDICTOR: 1, TRANSFORMER: 0}, {PREDICTOR: 0, TRANSFORMER: 1}])
def test_one_workload_wakes_the_others(numbers: dict[str, int]) -> None:
    found = look(numbers, tell(asleep="True", ready="Asleep"))
    assert {**numbers, **found.numbers} == {PREDICTOR: 1, TRANSFORMER: 3}
    assert not found.asleep


def test_what_was_suspended_starts_though_it_looks_asleep() -> None:
    assert look(ASLEEP, tell(ready="Suspended")).numbers == {PREDICTOR: 1, TRANSFORMER: 3}


def test_what_may_sleep_no_more_starts_and_what_somebody_stopped_does_not() -> None:
    awake, _ = read(TEXT.replace("min: 0, max: 4, idle: 1m", "min: 1, max: 4"))
    assert look(ASLEEP, tell(asleep="True"), serving=awake).numbers == {PREDICTOR: 1, TRANSFORMER: 3}
    assert look(ASLEEP, tell(), serving=awake) == Rousing()


def test_what_is_suspended_is_not_woken() -> None:
    suspended, _ = read(TEXT.replace("spec:", "spec:\n  suspend: true"))
    assert look({PREDICTOR: 1, TRANSFORMER: 0}, tell(), serving=suspended) == Rousing()


def test_the_one_before_sleeps_on_while_a_new_one_starts() -> None:
    old = dict.fromkeys(OLD.workloads, 0)
    assert look(old | {PREDICTOR: 1, TRANSFORMER: 3}, tell(asleep="True"), active=OLD) == Rousing()
    assert look(old | ASLEEP, tell(asleep="True"), active=OLD).numbers == {PREDICTOR: 1, TRANSFORMER: 3}


def test_and_is_woken_as_a_whole() -> None:
    numbers = {OLD.workloads[0]: 1, OLD.workloads[1]: 0, PREDICTOR: 1, TRANSFORMER: 3}
    assert look(numbers, tell(asleep="True"), active=OLD).numbers == {OLD.workloads[1]: 3}


def test_what_both_share_wakes_the_one_before() -> None:
    before = RevisionState(name="old", workloads=(PREDICTOR, OLD.workloads[1]))
    numbers = {PREDICTOR: 0, OLD.workloads[1]: 0, TRANSFORMER: 3}
    assert look(numbers, tell(asleep="True"), active=before).numbers == {PREDICTOR: 1, OLD.workloads[1]: 3}


def test_what_was_deleted_by_hand_is_no_sleep() -> None:
    assert look({PREDICTOR: 0}, tell(asleep="True")).numbers == {PREDICTOR: 1}


def test_it_may_fall_asleep_so_long_after_it_came_up_and_after_it_was_woken() -> None:
    assert read_vigil(SERVING, tell(asleep="False")) == Vigil(since_s=1767225660.0, idle_s=60.0)
    for status in (
        tell(asleep="True", ready="Asleep"), tell(asleep="False", ready="Waking"), tell(asleep="False", active="old"),
        tell(),
    ):  # fmt: skip
        assert read_vigil(SERVING, status) is None
    awake, _ = read(TEXT.replace("min: 0, max: 4, idle: 1m", "min: 1, max: 4"))
    assert read_vigil(awake, tell(asleep="False")) is None


def test_what_took_long_to_come_up_is_awake_for_as_long_as_all_others() -> None:
    status = tell(asleep="False")
    for type_, time in (("PredictorReady", "2026-01-01T00:05:00Z"), ("TransformerReady", "2026-01-01T00:00:30Z")):
        told = {"type": type_, "status": "True", "reason": "Ready", "lastTransitionTime": time}
        status["conditions"].append(told)
    assert read_vigil(SERVING, status) == Vigil(since_s=1767225900.0, idle_s=60.0)
