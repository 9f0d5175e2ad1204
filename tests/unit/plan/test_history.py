"""What is kept of a revision, and what of it becomes the spec again."""

from typing import Any

import pytest

from forebay.api import ModelDeployment
from forebay.plan.history import (
    Change,
    Outcome,
    Record,
    build_data,
    build_record,
    choose_kept,
    find_previous,
    is_record,
    list_titles,
    read_record,
    restore,
)
from forebay.plan.resolve import resolve
from forebay.plan.site import Site
from forebay.plan.versions import Version
from forebay.plan.workloads import Revision, build_revision

Json = dict[str, Any]
VERSION = Version("digits", "3", "s3://models/digits/3", digest="sha256:" + "0" * 64, secret_name="s3", run="r")
SPEC: Json = {
    "model": {"version": "digits@champion"},
    "predictor": {
        "triton": {}, "replicas": 3, "concurrency": 4, "resources": {"cpu": "2"}, "autoscaling": {"min": 1, "max": 4},
    },
    "transformer": {"custom": {"script": "class A:\n  def preprocess(self, i): return i\n"}, "replicas": 2},
    "queue": {"timeout": "20s", "depth": 5},
    "rollout": {"history": 3},
    "access": {},
}  # fmt: skip


def plan(spec: Json) -> Revision:
    metadata = {"name": "digits", "namespace": "vision", "labels": {"team": "a"}}
    manifest = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}
    return build_revision(resolve(ModelDeployment.model_validate(manifest)), Site())


PLAIN: Json = {**SPEC, "model": {"uri": "s3://models/digits/3"}}
PLAIN["predictor"] = {name: value for name, value in SPEC["predictor"].items() if name != "replicas"}


def record(number: int, **changes: Any) -> Record:
    data = build_data(SPEC, VERSION, plan(PLAIN))
    return Record(**{"name": f"{number:08x}", "number": number, "data": data, **changes})


def test_what_makes_the_pods_is_kept_and_no_more() -> None:
    data = build_data(SPEC, VERSION, plan(PLAIN))
    assert data["spec"] == {
        "model": {"version": "digits@champion"},
        "predictor": {"triton": {}, "resources": {"cpu": "2"}},
        "transformer": {"custom": SPEC["transformer"]["custom"]},
        "queue": {"timeout": "20s"},
    }
    assert data["scaling"]["transformer"] == {"replicas": 2}
    assert [each.rpartition("-")[0] for each in data["workloads"]] == ["digits-predictor", "digits-transformer"]


@pytest.mark.parametrize(
    "live",
    [
        {"predictor": {**PLAIN["predictor"], "concurrency": 9, "autoscaling": {"min": 2, "max": 9}}},
        {"transformer": {**PLAIN["transformer"], "replicas": 7}},
        {"queue": {"timeout": "20s", "depth": 50}},
        {"rollout": {"paused": True}},
        {"access": {"rateLimit": {"requests": 5}}},
        {"suspend": True},
    ],
)
def test_what_is_not_kept_makes_no_other_pods(live: Json) -> None:
    changed = {**PLAIN, **live}
    assert plan(changed).name == plan(PLAIN).name
    assert build_data(changed, None, plan(PLAIN))["spec"] == build_data(PLAIN, None, plan(PLAIN))["spec"]


@pytest.mark.parametrize(
    "other",
    [
        {"model": {"uri": "s3://models/digits/4"}},
        {"predictor": {**PLAIN["predictor"], "resources": {"cpu": "3"}}},
        {"transformer": None},
        {"queue": {"timeout": "30s"}},
    ],
)
def test_what_makes_other_pods_is_restored(other: Json) -> None:
    changed = {name: value for name, value in {**PLAIN, **other}.items() if value is not None}
    assert plan(changed).name != plan(PLAIN).name
    again = restore(changed, build_data(PLAIN, None, plan(PLAIN)))
    assert plan(again).name == plan(PLAIN).name


def test_the_present_numbers_stay_and_a_component_that_was_gone_has_its_own() -> None:
    now: Json = {
        "model": {"uri": "s3://new"}, "predictor": {"custom": {"image": "x"}, "replicas": 9}, "queue": {"depth": 7},
        "rollout": {"paused": True},
    }  # fmt: skip
    again = restore(now, build_data(SPEC, VERSION, plan(PLAIN)))
    assert again == {
        "model": {"version": "digits@champion"},
        "predictor": {"triton": {}, "resources": {"cpu": "2"}, "replicas": 9},
        "transformer": SPEC["transformer"],
        "queue": {"timeout": "20s", "depth": 7},
        "rollout": {"paused": True},
    }
    without = restore(SPEC, build_data({"predictor": {"custom": {"image": "x"}}}, None, plan(PLAIN)))
    assert "transformer" not in without
    assert "model" not in without
    assert without["predictor"]["replicas"] == 3


def test_a_record_is_read_as_it_was_written() -> None:
    change = Change(at="2026-11-22T08:00:00Z", by="kubectl", cause="a bug")
    made = record(7, change=change, outcome=Outcome.ABORTED, is_orphan=True)
    deployment = {"metadata": {"name": "digits", "namespace": "vision", "labels": {"team": "a"}}}
    body = build_record(deployment, made)
    assert body["metadata"]["name"] == "digits-00000007"
    assert body["metadata"]["labels"]["team"] == "a"
    assert is_record(body)
    assert read_record(body) == made
    assert read_record(body).version == VERSION
    assert read_record(build_record(deployment, record(1))).change == Change()
    assert not is_record({**body, "data": None})
    assert not is_record({**body, "metadata": {"name": "web-123"}})


def test_the_latest_stay_and_whatever_is_needed() -> None:
    records = {each.name: each for each in map(record, range(1, 6))}
    first, last = "00000001", "00000005"
    assert choose_kept(records, 2, [last]) == {last, "00000004"}
    assert choose_kept(records, 2, [first, last]) == {first, last}
    assert choose_kept(records, 1, [first, last, ""]) == {first, last}
    assert choose_kept(records, 9, []) == set(records)
    assert list_titles(records).startswith("r5 (00000005), r4")
    assert list_titles({}) == "none"


def test_what_is_rolled_back_to() -> None:
    served = {each.name: each for each in (record(1, outcome="Served"), record(2, outcome="Served"))}
    others = {each.name: each for each in (record(3, outcome="Aborted"), record(4))}
    records, third, last = served | others, "00000003", "00000004"
    assert find_previous(records, target=last, active="00000001") == records["00000001"], "that serves beside it"
    assert find_previous(records, target=third, active=third) == records["00000002"]
    assert find_previous(records, target="00000002", active="00000002") == records["00000001"]
    assert find_previous(others, target=last, active="") is None
