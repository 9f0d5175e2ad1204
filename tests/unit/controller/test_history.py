"""Which records are written, and what is told of who wrote the spec."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from forebay.controller.authors import find_author
from forebay.controller.history import build_latest, find_outcomes, list_kept
from forebay.controller.planning import Plan, Planner
from forebay.observation import Reason, Trouble, Unusable
from forebay.plan.history import Change, Record, RollbackError
from forebay.plan.site import Site
from forebay.plan.versions import Version
from forebay.rollout.canary import is_failed
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, GatewayState, RevisionState, RolloutState

Json = dict[str, Any]
AT = "2026-11-22T08:00:00Z"
NOW = datetime.fromisoformat(AT)


def build(cpu: str = "1", *, generation: int = 1, manager: str = "kubectl", **rollout: Any) -> Json:
    metadata = {"name": "digits", "namespace": "ns", "uid": "1", "generation": generation}
    metadata["managedFields"] = [{"manager": manager}]
    spec = {"model": {"uri": "s3://a/b"}, "predictor": {"triton": {}, "resources": {"cpu": cpu}}, "rollout": rollout}
    return {"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}


def keep(plan: Plan, number: int, **changes: Any) -> dict[str, Record]:
    name = plan.target.name
    return {name: Record(**{"name": name, "number": number, "data": plan.data, **changes})}


@pytest.fixture
def planner() -> Planner:
    return Planner(Site())


def test_numbers_rise_and_what_comes_back_is_the_latest(planner: Planner) -> None:
    one, two = planner.plan(build("1")), planner.plan(build("2", generation=2))
    first = build_latest(build("1"), one, {}, NOW)
    assert (first.number, first.name, first.change) == (1, one.target.name, Change(at=AT, by="kubectl"))
    second = build_latest(build("2", manager="argocd-controller"), two, keep(one, 1), NOW)
    assert (second.number, second.change.by) == (2, "argocd-controller")
    back = build_latest(build("1"), one, keep(one, 1, outcome="Served") | keep(two, 2), NOW)
    assert (back.number, back.outcome, back.data) == (3, "Served", one.data)


def test_why_there_is_another_is_told_as_far_as_it_is_known(planner: Planner) -> None:
    body = build() | {"spec": {"model": {"version": "digits@champion"}, "predictor": {"triton": {}}}}
    three, four = (Version("digits", each, f"s3://a/{each}") for each in "34")
    one, two = planner.plan(body, three), planner.plan(body, four)
    moved = build_latest(body, two, keep(one, 1), NOW)
    assert (moved.change.by, moved.change.cause) == ("the model registry", "digits@champion became digits:4")
    assert moved.version == four
    upgraded = Planner(Site(pull_policy="Always")).plan(body, three)
    other = build_latest(body, upgraded, keep(one, 1), NOW)
    assert other.change.by == "forebay"
    assert "another version or setting of Forebay" in other.change.cause
    body["metadata"]["annotations"] = {"kubernetes.io/change-cause": "a better model"}
    assert build_latest(body, one, {}, NOW).change.cause == "a better model"


def test_what_is_rolled_back_is_planned_until_the_spec_changes(planner: Planner) -> None:
    one, two = planner.plan(build("1")), planner.plan(build("2", generation=2))
    steps = {"canary": {"steps": [{"weight": 10}]}, "paused": True}
    rollback = {"from": two.target.name, "to": one.target.name}
    records = keep(one, 1, outcome="Served") | keep(two, 2)
    wanted = build("2", generation=3, rollback=rollback, **steps)
    plan = planner.choose(wanted, None, records)
    assert (plan.target.name, plan.unwanted) == (one.target.name, two.target.name)
    assert plan.restored == records[one.target.name]
    assert (plan.serving.strategy.steps, plan.serving.strategy.paused) == ((), False)
    assert planner.choose(wanted, None, records) is plan
    latest = build_latest(wanted, plan, records, NOW)
    assert (latest.number, latest.change.cause) == (3, f"rolled back from {two.target.name}")
    changed = planner.choose(build("3", generation=4, rollback=rollback, **steps), None, records)
    assert changed.restored is None
    assert changed.serving.strategy.steps
    # Another version of Forebay gives the same content another name: it isn't wanted all the same.
    upgraded = Planner(Site(pull_policy="Always")).choose(wanted, None, records)
    assert upgraded.target.name not in records
    assert upgraded.data["spec"] == one.data["spec"]


def test_what_is_rolled_back_and_failed_may_be_wanted_all_the_same(planner: Planner) -> None:
    """In the place of the other it may be too late. Of no other revision, and of no step, anything is said."""
    one, two = planner.plan(build("1")), planner.plan(build("2", generation=2))
    rollout = {"recreate": {}, "rollback": {"from": two.target.name, "to": one.target.name}}
    records, name = keep(one, 1, outcome="Served") | keep(two, 2), one.target.name
    new = RevisionState(name=two.target.name, workloads=tuple(each.name for each in two.target.workloads))
    own = RevisionState(name=name, workloads=tuple(each.name for each in one.target.workloads))
    failed = Progress(revision=name, phase=Phase.FAILED, message="0 of its 1 instances were ready within 600 s")
    for promote, is_wanted in ((None, False), ({"revision": name}, True), ({"revision": name, "step": 1}, False)):
        wanted = build("2", generation=3, **rollout, **({"promote": promote} if promote else {}))
        state = RolloutState(
            target=own, active=new, workloads={}, gateway=GatewayState(routed={}), progress=failed,
            strategy=Planner(Site()).choose(wanted, None, records).serving.strategy,
        )  # fmt: skip
        assert is_failed(state) is not is_wanted


def test_what_cannot_be_served_again_is_told(planner: Planner) -> None:
    one, two = planner.plan(build("1")), planner.plan(build("2", generation=2))
    rollback = {"from": two.target.name, "to": one.target.name}
    wanted = build("2", generation=3, rollback=rollback)
    with pytest.raises(RollbackError, match=rf"there is no revision {one.target.name} .* there are r2 \("):
        planner.choose(wanted, None, keep(two, 2))
    for data, said in (
        ({"spec": {"predictor": {"triton": {}, "gpus": 1}}}, "spec.predictor.gpus: Extra inputs are not permitted"),
        ({"spec": {"predictor": {"triton": {}}}}, r"spec\.model: Triton needs a model"),
    ):
        records = keep(one, 1, data=data) | keep(two, 2)
        with pytest.raises(
            RollbackError, match=rf"revision r1 \({one.target.name}\).* can't be served any more: {said}"
        ):
            Planner(Site()).choose(wanted, None, records)


INVALID = Unusable(trouble=Trouble(reason=Reason.INVALID_SPEC, message="no", stalled=True))
SERVING, ASKED = {"activeRevision": "A"}, {"activeRevision": "B", "targetRevision": "B"}
BACK = {"rollback": {"from": "B", "to": "A"}}


@pytest.mark.parametrize(
    ("rollout", "status", "served", "unwanted"),
    [
        ({}, SERVING, "A", ""),
        ({}, SERVING | {"rollout": {"phase": "Running"}}, "A", ""),
        ({}, SERVING | {"rollout": {"phase": "Starting", "heldSince": AT}}, "A", ""),
        # It would be tried again.
        ({}, SERVING | {"rollout": {"phase": "Failed"}}, "", ""),
        ({}, SERVING | {"rollout": {"phase": "Aborted"}}, "", ""),
        ({}, SERVING | {"rollout": {"phase": "Aborted", "heldSince": AT}}, "A", ""),
        ({}, {"activeRevision": "gone"}, "", ""),
        ({}, {}, "", ""),
        (BACK, ASKED, "A", "B"),
        (BACK, SERVING | {"targetRevision": "A", "rollback": {"from": "B", "to": "A"}}, "A", "B"),
        (BACK, SERVING | {"targetRevision": "B", "rollout": {"phase": "Failed"}}, "A", "B"),
        # It is of another content.
        ({"rollback": {"from": "0badcafe", "to": "A"}}, ASKED, "B", ""),
        ({"rollback": {"from": "B", "to": "0badcafe"}}, ASKED, "B", ""),
    ],
)
def test_what_serves_is_planned_where_the_spec_cannot_be(
    planner: Planner, rollout: Json, status: Json, served: str, unwanted: str
) -> None:
    one, two = planner.plan(build("1")), planner.plan(build("2", generation=2))
    names = {"A": one.target.name, "B": two.target.name}

    def name(told: Json) -> Json:
        return {key: name(each) if isinstance(each, dict) else names.get(each, each) for key, each in told.items()}

    body = build("3", generation=3, canary={"steps": [{"weight": 10}]}, **name(rollout)) | {"status": name(status)}
    body["spec"]["model"] = {"version": "digits:9"}
    plan = planner.serve_on(body, keep(one, 1) | keep(two, 2), INVALID)
    if not served:
        assert plan is None
        return
    assert plan
    assert (plan.target.name, plan.unwanted, plan.unusable) == (names[served], names.get(unwanted, ""), INVALID)
    assert not plan.serving.strategy.steps


A, B = RevisionState(name="a", workloads=("p",)), RevisionState(name="b", workloads=("q",))


def turn(phase: Phase) -> Decision:
    return Decision(active=A, keep=frozenset(), target=B, progress=Progress(revision="b", phase=phase))


@pytest.mark.parametrize(
    ("decision", "outcomes"),
    [
        (Decision(active=A, keep=frozenset(), target=A), {"a": "Served"}),
        (Decision(active=None, keep=frozenset(), target=A), {}),
        (Decision(active=A, keep=frozenset(), target=B), {"a": "Served"}),
        (turn(Phase.RUNNING), {"a": "Served"}),
        (turn(Phase.ABORTED), {"a": "Served", "b": "Aborted"}),
    ],
)
def test_what_became_of_them(decision: Decision, outcomes: dict[str, str]) -> None:
    assert find_outcomes(decision) == outcomes


def test_what_serves_stays_however_old(planner: Planner) -> None:
    plans = [planner.plan(build(str(number), generation=number, history=1)) for number in range(1, 5)]
    records: dict[str, Record] = {}
    for number, plan in enumerate(plans, start=1):
        records |= keep(plan, number)
    serving = RevisionState(name=plans[0].target.name, workloads=("p",))
    kept = list_kept(plans[3], records, Decision(active=serving, keep=frozenset()), "digits")
    assert {each.name for each in kept} == {f"digits-{plans[index].target.name}" for index in (0, 3)}
    rolled_back = replace(plans[3].serving.strategy, unwanted=plans[1].target.name, restored=plans[2].target.name)
    plan = replace(plans[3], serving=replace(plans[3].serving, strategy=rolled_back))
    assert len(list_kept(plan, records, Decision(active=serving, keep=frozenset()), "digits")) == 4


def entry(manager: str, at: str, *, fields: str = "f:spec", **more: str) -> Json:
    return {"manager": manager, "operation": "Update", "time": at, "fieldsV1": {fields: {}}, **more}


def find(managed: list[Json], before: Json | None = None, generation: int = 2) -> str:
    return find_author({"managedFields": managed, "generation": generation}, lambda: before or {}).get("manager", "")


def test_who_changed_the_spec_last() -> None:
    managed = [
        entry("kubectl-create", "2026-11-22T08:00:00Z"),
        entry("argocd-controller", "2026-11-22T09:00:00Z"),
        entry("kubectl", "2026-11-22T10:00:00Z", subresource="scale"),
        entry("forebay", "2026-11-22T11:00:00Z", fields="f:status", subresource="status"),
        entry("kubectl-label", "2026-11-22T11:00:00Z", fields="f:metadata"),
    ]
    assert find_author({"managedFields": managed}, dict) == {
        "manager": "argocd-controller", "operation": "Update", "time": "2026-11-22T09:00:00Z",
    }  # fmt: skip
    assert find_author({}, dict) == {}
    assert find([{"manager": "kubectl"}]) == ""


def test_of_two_in_the_same_second_it_is_who_was_not_the_last_before() -> None:
    both = [entry("creator", AT), entry("changer", AT)]
    for managed in (both, both[::-1]):
        before = {"generation": 1, "managedFields": [{"manager": "creator"}]}
        assert find(managed, before) == "changer"
        # Its status is written, for one: the spec is as it was.
        assert find(managed, {"generation": 2, "managedFields": [{"manager": "changer"}]}) == "changer"
    assert find(both) in ("creator", "changer")
