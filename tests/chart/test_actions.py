"""Argo CD's actions on a ModelDeployment, in the Lua that Argo CD has (5.1): which there are, and what each writes."""

from copy import deepcopy
from typing import Any

import pytest
import yaml
from lupa import lua51

from forebay.api import ModelDeployment
from forebay.api.rules import check_object
from tests.chart.charts import ROOT
from tests.chart.test_health import to_table

Json = dict[str, Any]
FILE = yaml.safe_load((ROOT / "charts/argocd/actions.yaml").read_text())
ACTIONS = {each["name"]: each["action.lua"] for each in FILE["definitions"]}
STEPS: Json = {"canary": {"steps": [{"weight": 10}, {"weight": 50}]}}
WAITING: Json = {"revision": "2222bbbb", "phase": "Waiting", "step": 1, "steps": 2, "weightPct": 10}
MIDWAY: Json = {
    "activeRevision": "1111aaaa",
    "targetRevision": "2222bbbb",
    "previousRevision": "1111aaaa",
    "rollout": WAITING,
}
DONE: Json = {"activeRevision": "2222bbbb", "targetRevision": "2222bbbb", "previousRevision": "1111aaaa"}


def build(status: Json, rollout: Json | None = None, *, generation: int = 3) -> Json:
    spec = {"model": {"uri": "s3://models/digits"}, "predictor": {"triton": {}}}
    return {
        "apiVersion": "forebay.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "digits", "namespace": "default", "generation": generation},
        "spec": spec | ({"rollout": rollout} if rollout is not None else {}),
        "status": {"observedGeneration": 3, **status},
    }


def run(script: str, manifest: Json) -> Any:
    lua = lua51.LuaRuntime()
    for name in ("io", "os", "require", "dofile", "loadfile", "debug", "package"):
        lua.globals()[name] = None
    lua.globals()["obj"] = to_table(lua, manifest)
    return to_data(lua.execute(script))


def to_data(value: Any) -> Any:
    if lua51.lua_type(value) != "table":
        return value
    found = {key: to_data(each) for key, each in value.items()}
    is_list = bool(found) and list(found) == list(range(1, len(found) + 1))
    return list(found.values()) if is_list else found


def offered(manifest: Json) -> set[str]:
    return {name for name, said in run(FILE["discovery.lua"], manifest).items() if not said["disabled"]}


@pytest.mark.parametrize(
    ("manifest", "names"),
    [
        (build({}), {"pause"}),
        (build({"activeRevision": "1111aaaa", "targetRevision": "1111aaaa"}, STEPS), {"pause"}),
        (build(MIDWAY, STEPS), {"promote", "promote-full", "abort", "pause", "rollback"}),
        (build(MIDWAY, STEPS | {"paused": True}), {"abort", "resume", "rollback"}),
        (build(MIDWAY, STEPS, generation=4), {"pause"}),
        (build(MIDWAY | {"rollout": WAITING | {"phase": "Aborted"}}, STEPS | {"abort": "2222bbbb"}),
         {"pause", "resume", "rollback"}),
        (build(MIDWAY | {"rollout": WAITING | {"phase": "Failed"}}, STEPS), {"pause", "retry", "rollback"}),
        (build(MIDWAY | {"rollout": None}, {}), {"abort", "pause", "rollback"}),
        (build(DONE, STEPS | {"abort": "0badcafe"}), {"pause", "rollback"}),
    ],
)  # fmt: skip
def test_those_are_offered_that_do_something(manifest: Json, names: set[str]) -> None:
    manifest["status"] = {name: value for name, value in manifest["status"].items() if value is not None}
    assert offered(manifest) == names
    assert run(FILE["discovery.lua"], {**manifest, "status": None}).keys() == ACTIONS.keys()


@pytest.mark.parametrize(
    ("action", "manifest", "rollout"),
    [
        ("promote", build(MIDWAY, STEPS), STEPS | {"promote": {"revision": "2222bbbb", "step": 1}}),
        ("promote-full", build(MIDWAY, STEPS), STEPS | {"promote": {"revision": "2222bbbb"}}),
        ("abort", build(MIDWAY, STEPS), STEPS | {"abort": "2222bbbb"}),
        ("abort", build(MIDWAY | {"rollout": {}}), {"abort": "2222bbbb"}),
        ("pause", build(DONE), {"paused": True}),
        ("resume", build(MIDWAY, STEPS | {"paused": True}), STEPS),
        ("resume", build(MIDWAY, STEPS | {"abort": "2222bbbb", "promote": {"revision": "2222bbbb"}}), STEPS),
        ("rollback", build(DONE), {"rollback": {"from": "2222bbbb", "to": "1111aaaa"}}),
        ("rollback", build(MIDWAY, STEPS), STEPS | {"rollback": {"from": "2222bbbb", "to": "1111aaaa"}}),
        ("rollback", build(DONE, {"abort": "1111aaaa"}), {"rollback": {"from": "2222bbbb", "to": "1111aaaa"}}),
        (
            "rollback",
            build(
                {"activeRevision": "1111aaaa", "targetRevision": "1111aaaa", "previousRevision": "2222bbbb",
                 "rollback": {"from": "2222bbbb", "to": "1111aaaa"}},
                STEPS | {"rollback": {"from": "2222bbbb", "to": "1111aaaa"}},
            ),
            STEPS,
        ),
    ],
)  # fmt: skip
def test_each_writes_a_field_of_the_rollout_and_no_more(action: str, manifest: Json, rollout: Json) -> None:
    before = deepcopy(manifest)
    after = run(ACTIONS[action], manifest)
    assert after == before | {"spec": before["spec"] | {"rollout": rollout}}
    del after["status"]
    # A table with nothing in it is neither a list nor an object in Lua.
    after["spec"]["predictor"] = {"triton": {}}
    assert not check_object(ModelDeployment.model_validate(after, strict=True))


def test_another_attempt_is_the_next() -> None:
    failed = build(MIDWAY | {"rollout": WAITING | {"phase": "Failed", "attempt": 2}}, STEPS)
    after = run(ACTIONS["retry"], failed)
    assert after["spec"]["rollout"] == STEPS | {"retry": {"revision": "2222bbbb", "attempt": 3}}
    # Left over, it would pass the steps without a look.
    failed["spec"]["rollout"] = STEPS | {"promote": {"revision": "2222bbbb", "step": 1}}
    assert run(ACTIONS["retry"], failed) == after
