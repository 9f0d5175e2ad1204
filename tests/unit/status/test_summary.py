"""The whole status: when it is ready, what stands there when it isn't, and that it keeps still."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.api.status import ModelDeploymentStatus
from forebay.observation import Reason, Trouble, Unusable
from forebay.rollout.state import RevisionState
from forebay.status import is_settled, summarize_invalid
from forebay.status.lines import LONGEST_MESSAGE
from tests.unit.status.scene import (
    DEPLOYMENTS,
    LATER,
    MANIFEST,
    NOW,
    PODS,
    TRANSFORMER,
    UNKNOWN,
    Scene,
    get_condition,
    told,
)

OLD = RevisionState(name="0badcafe", workloads=("digits-predictor-old",))
CONFLICT = Trouble(reason=Reason.CHILD_CONFLICT, message="Service digits belongs to somebody else", stalled=True)
INVALID = Trouble(reason=Reason.INVALID_SPEC, message="predictor.replicas is too large", stalled=True)


def test_all_is_up_and_served() -> None:
    scene = Scene(MANIFEST + TRANSFORMER)
    status = scene.summarize()
    predictor, transformer = (each.name for each in scene.target.workloads)
    kinds = [each["type"] for each in status["conditions"]]
    assert kinds == ["Ready", "Available", "Progressing", "Stalled", "PredictorReady", "TransformerReady"]
    assert [told(status, kind)[0] for kind in kinds] == ["True", "True", "False", "False", "True", "True"]
    assert {each["observedGeneration"] for each in status["conditions"]} == {3} == {status["observedGeneration"]}
    assert {each["lastTransitionTime"] for each in status["conditions"]} == {"2026-11-21T17:00:00Z"}
    assert is_settled(status)
    assert (status["instances"], status["replicas"], status["readyReplicas"]) == ("3/3", 2, 2)
    assert status["url"] == "http://digits.vision"
    assert status["activeRevision"] == status["targetRevision"] == scene.target.name
    assert status["traffic"] == [
        {
            "revision": scene.target.name,
            "workload": transformer,
            "workloads": [predictor, transformer],
            "weightPct": 100,
        }
    ]
    assert status["components"][0] == {
        "name": "predictor", "workload": predictor, "replicas": 2, "readyReplicas": 2,
        "model": {"state": "Ready", "message": ""},
    }  # fmt: skip
    labels = scene.target.workloads[0].template["metadata"]["labels"]
    wanted = dict(each.split("=") for each in status["selector"].split(","))
    assert wanted.items() <= labels.items()
    assert wanted["app.kubernetes.io/component"] == "predictor"


@pytest.mark.parametrize("text", [MANIFEST, MANIFEST + TRANSFORMER])
def test_a_new_object(text: str) -> None:
    """Nothing is there but the spec."""
    scene = Scene(text, is_active=False, gateway={"routed": {}})
    scene.deployments = {each.name: {} for each in scene.target.workloads}
    status = scene.summarize({})
    assert told(status) == ("False", "Starting")
    assert told(status, "Available") == ("False", "Starting")
    assert told(status, "Progressing") == ("True", "Starting")
    assert told(status, "Stalled") == ("False", "Starting")
    assert status["instances"] == ("0/3" if TRANSFORMER in text else "0/2")
    assert (status["replicas"], status["activeRevision"], status["traffic"]) == (0, "", [])
    assert status["components"][0]["model"] == {"state": "Pending", "message": ""}


GATES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no gateway": ({"pods": 0, "answered": 0, "routed": {}}, "GatewayNotReady", "look at its Deployment"),
    "one is silent": ({"answered": 1}, "GatewayNotReady", "not every pod"),
    "no key": ({"error": "access.apiKeys: there is no Secret keys"}, "AccessNotReady", "there is no Secret keys"),
    "old access": ({"generation": 2}, "Routing", "access"),
    "no endpoints": ({"routed": {"TARGET": 0}}, "Routing", "about to route"),
    "nothing routed": ({"routed": {}}, "Routing", "about to route"),
    "two routed": ({"routed": {"TARGET": 2, "digits-predictor-old": 2}}, "Routing", "let go"),
}


@pytest.mark.parametrize("name", GATES)
def test_it_is_ready_only_when_the_gateway_routes_to_it_alone(name: str) -> None:
    gateway, reason, part = GATES[name]
    scene = Scene()
    entry = scene.target.entry.name
    routed = {each.replace("TARGET", entry): count for each, count in gateway.get("routed", {entry: 2}).items()}
    scene.gateway = {**gateway, "routed": routed}
    status = scene.summarize()
    assert told(status) == ("False", reason)
    assert part in get_condition(status, "Ready")["message"]
    assert told(status, "Progressing") == ("True", reason)
    assert told(status, "PredictorReady")[0] == "True"
    assert not is_settled(status)


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        ({}, "True"),
        ({"answered": 1}, "True"),
        ({"answered": 0, "routed": {}}, "Unknown"),
        ({"pods": 0, "answered": 0, "routed": {}}, "False"),
        ({"routed": {}}, "False"),
        ({"routed": {"digits-predictor-old": 0}}, "False"),
    ],
)
def test_available_is_whether_the_active_revision_gets_requests(gateway: dict[str, Any], expected: str) -> None:
    scene = Scene(active=OLD, ready={"predictor": 0}, gateway=gateway)
    status = scene.summarize()
    assert told(status, "Available")[0] == expected
    serves = "0badcafe serves no more" if expected == "False" else "still serving 0badcafe"
    assert get_condition(status, "Ready")["message"].startswith(f"{serves}; {scene.target.name} is on its way: ")


BETWEEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "none has heard of it": ({"routed": {"old": 2}}, "True", "takes over"),
    "one has heard of it": ({"routed": {"old": 0, "TARGET": 0}, "instances": 1}, "True", "takes over"),
    "asked before": ({"routed": {"TARGET": 2}, "pending": True}, "True", "takes over"),
    "all have": ({"routed": {"TARGET": 2}}, "True", "answers requests"),
    "one has nobody to send to": ({"routed": {"old": 0, "TARGET": 0}}, "False", "no instance"),
    "asked before, and nobody": ({"routed": {"old": 0}, "pending": True}, "False", "no instance"),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_it_is_available_while_the_gateway_hears_who_serves(name: str) -> None:
    """Gateways take over one after the other, and until then the revision before answers."""
    gateway, expected, said = BETWEEN[name]
    scene = Scene()
    routed = {each.replace("TARGET", scene.target.entry.name): count for each, count in gateway["routed"].items()}
    scene.gateway = {**gateway, "routed": routed}
    status = scene.summarize()
    assert told(status, "Available")[0] == expected
    assert said in get_condition(status, "Available")["message"]


def test_a_rollout_that_waits_for_a_gpu() -> None:
    scene = Scene(active=OLD, ready={"predictor": 0})
    scene.add_pod("gpu", "digits-1")
    status = scene.summarize()
    message = get_condition(status, "Ready")["message"]
    assert message.startswith(
        f"still serving 0badcafe; {scene.target.name} can't start: pod digits-1 waits for 8 nvidia"
    )
    assert told(status) == ("False", "WaitingForGPU")
    assert told(status, "Stalled")[0] == "False", "it may come free"
    assert told(status, "Progressing") == ("True", "WaitingForGPU")
    assert (status["activeRevision"], status["targetRevision"]) == ("0badcafe", scene.target.name)
    assert status["traffic"][0]["workloads"] == ["digits-predictor-old"]


def test_a_rollout_that_needs_somebody() -> None:
    scene = Scene(active=OLD, ready={"predictor": 0})
    scene.add_pod("gpu", "digits-1")
    scene.add_pod("crash", "digits-2")
    status = scene.summarize()
    assert told(status) == ("False", "CrashLoop"), "of two troubles that which won't go away"
    assert told(status, "Stalled") == ("True", "CrashLoop")
    assert told(status, "Progressing") == ("False", "CrashLoop")
    assert told(status, "Available")[0] == "True"
    model = status["components"][0]["model"]
    assert (model["state"], "ValueError: no weights" in model["message"]) == ("Failed", True)


def test_the_target_takes_over() -> None:
    status = Scene(active=OLD).summarize()
    assert told(status) == ("False", "RollingOut")
    assert told(status, "PredictorReady")[0] == "True"


@pytest.mark.parametrize(("ready", "expected"), [({"predictor": 1}, "predictor"), ({"transformer": 0}, "transformer")])
def test_every_workload_must_be_whole(ready: dict[str, int], expected: str) -> None:
    status = Scene(MANIFEST + TRANSFORMER, ready=ready).summarize()
    assert told(status)[0] == told(status, f"{expected.capitalize()}Ready")[0] == "False"
    assert get_condition(status, "Ready")["message"].startswith(expected)


def test_numbers_of_a_deployment_that_has_changed_do_not_count() -> None:
    scene = Scene()
    deployment = scene.build_deployment(scene.target.entry)
    deployment["metadata"]["generation"] = 2
    scene.deployments = {scene.target.entry.name: deployment}
    assert told(scene.summarize()) == ("False", "Starting")


def test_an_autoscaler_s_wish_is_what_is_wanted() -> None:
    scene = Scene()
    deployment = scene.build_deployment(scene.target.entry)
    deployment["spec"]["replicas"] = 5
    scene.deployments = {scene.target.entry.name: deployment}
    status = scene.summarize()
    assert (status["instances"], told(status)) == ("2/5", ("False", "Starting"))
    deployment["spec"]["replicas"] = 0
    assert "scaled to 0" in get_condition(scene.summarize(), "Ready")["message"]


def test_quota() -> None:
    scene = Scene(ready={"predictor": 1})
    deployment = scene.build_deployment(scene.target.entry)
    deployment["status"]["conditions"] = DEPLOYMENTS["mem-quota"]["status"]["conditions"]
    scene.deployments = {scene.target.entry.name: deployment}
    assert told(scene.summarize(), "Stalled") == ("True", "QuotaExceeded")
    deployment["status"]["readyReplicas"] = 2
    assert is_settled(scene.summarize()), "what is up needs no more pods"


def test_progress_is_a_number_and_not_a_message() -> None:
    scene = Scene(is_active=False, ready={"predictor": 0})
    first = scene.add_pod("download-runs", "digits-1")["metadata"]["name"]
    second = scene.add_pod("startup", "digits-2")["metadata"]["name"]
    scene.downloaded_pct = {first: 40, second: 99}
    before = scene.summarize()
    assert before["components"][0]["model"] == {"state": "Downloading", "progressPct": 40, "message": ""}
    assert told(before) == ("False", "Downloading")
    scene.downloaded_pct = {first: 41}
    after = scene.summarize(before)
    assert after["components"][0]["model"]["progressPct"] == 41
    assert after["conditions"] == before["conditions"]


def test_trouble_of_the_spec_comes_before_all() -> None:
    status = Scene(troubles=[CONFLICT]).summarize()
    assert told(status) == ("False", "ChildConflict")
    assert told(status, "Stalled") == ("True", "ChildConflict")
    assert told(status, "Available")[0] == "True"


def test_times_are_those_of_the_last_change() -> None:
    scene = Scene()
    before = scene.summarize()
    assert scene.summarize(before, LATER) == before
    scene.ready = {"predictor": 1}
    after = scene.summarize(before, LATER)
    changed = [each["type"] for each in after["conditions"] if each["lastTransitionTime"] == "2026-11-21T18:00:00Z"]
    assert changed == ["Ready", "Progressing", "PredictorReady"]
    scene.ready = {}
    assert scene.summarize(after, LATER)["conditions"][0]["lastTransitionTime"] == "2026-11-21T18:00:00Z"


def test_a_spec_that_cannot_be_used_leaves_what_runs() -> None:
    before = Scene(MANIFEST + TRANSFORMER).summarize()
    status = summarize_invalid(4, [INVALID], before, LATER)
    assert status == summarize_invalid(4, [INVALID], status, LATER + timedelta(days=1))
    assert status["observedGeneration"] == 4
    assert told(status) == ("False", "InvalidSpec")
    serving = f"still serving {before['activeRevision']}; the changed spec can't be used: predictor.replicas is"
    assert get_condition(status, "Ready")["message"].startswith(serving)
    assert told(status, "Stalled") == ("True", "InvalidSpec")
    kept = [kind for kind in before if kind not in ("conditions", "observedGeneration")]
    assert {kind: status[kind] for kind in kept} == {kind: before[kind] for kind in kept}
    for kind in ("Available", "PredictorReady", "TransformerReady"):
        assert get_condition(status, kind) == get_condition(before, kind)


def test_what_serves_on_is_told_of_as_it_is() -> None:
    """And why nothing else is on its way."""
    unusable = Unusable(trouble=INVALID)
    scene = Scene(generation=4, unusable=unusable, ready={"predictor": 1})
    status = scene.summarize(Scene().summarize(), LATER)
    for kind, wanted in (("Ready", "False"), ("Available", "True"), ("Progressing", "False"), ("Stalled", "True")):
        assert told(status, kind)[0] == wanted
    name = scene.target.name
    serving = f"still serving {name}; the changed spec can't be used: {INVALID.message}"
    assert get_condition(status, "Ready")["message"] == serving
    assert told(status, "PredictorReady")[0] == "False"
    assert (status["observedGeneration"], status["targetRevision"]) == (4, name)
    back = Scene(active=OLD, unusable=unusable).summarize()
    serving = f"still serving 0badcafe; {name} is on its way; the changed spec can't be used: {INVALID.message}"
    assert get_condition(back, "Ready")["message"] == serving
    # Of what MLflow names it is told by a condition of its own, too.
    resolved = {"type": "ModelResolved", "status": "True", "lastTransitionTime": "2026-11-21T17:00:00Z"}
    before = Scene().summarize()
    before["conditions"].append(resolved)
    missing = Trouble(reason=Reason.UNKNOWN_MODEL_VERSION, message="there is none", stalled=True)
    scene.unusable = Unusable(trouble=missing, what="what spec.model.uri names")
    assert told(scene.summarize(before), "ModelResolved") == ("False", "UnknownModelVersion")


@pytest.mark.parametrize("previous", [{}, UNKNOWN])
def test_a_first_spec_that_cannot_be_used(previous: dict[str, Any]) -> None:
    status = summarize_invalid(1, [INVALID], previous, NOW)
    assert [each["type"] for each in status["conditions"]] == ["Ready", "Available", "Progressing", "Stalled"]
    assert get_condition(status, "Ready")["message"] == INVALID.message
    assert told(status, "Available")[0] == "False"
    assert status["traffic"] == []
    assert told(summarize_invalid(1, [], previous, NOW)) == ("False", "InvalidSpec")


CANARY = "canary-in-a-variable"


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    log = st.sampled_from(["", CANARY, f'E1121 14:08:10.6 22 a.cc:6] "{CANARY}"\n' * 300, "x" * 5000])
    scene = Scene(
        active=draw(st.sampled_from([None, OLD])),
        ready={"predictor": draw(st.integers(0, 2))},
        gateway={"pods": draw(st.integers(0, 2)), "answered": draw(st.integers(0, 2))},
        troubles=draw(st.lists(st.sampled_from([CONFLICT, INVALID]), max_size=2)),
    )
    for kind in draw(st.lists(st.sampled_from(sorted(PODS)), max_size=4)):
        pod = scene.add_pod(kind)
        pod["spec"]["containers"][0] |= {"command": ["tritonserver"], "env": [{"name": "SECRET", "value": CANARY}]}
    scene.logs = {pod["metadata"]["name"]: draw(log) for pod in scene.pods}
    if name := draw(st.sampled_from(["", *DEPLOYMENTS])):
        deployment = scene.build_deployment(scene.target.entry)
        deployment["status"]["conditions"] = DEPLOYMENTS[name]["status"]["conditions"]
        scene.deployments = {scene.target.entry.name: deployment}
    return scene


@settings(max_examples=150, deadline=None)
@given(scene=scenes(), hours=st.integers(0, 10000))
def test_whatever_is_found(scene: Scene, hours: int) -> None:
    """The status is valid, short, without values of variables, and stands still."""
    status = scene.summarize()
    assert ModelDeploymentStatus.model_validate(status)
    assert CANARY not in json.dumps(status)
    assert all(len(each["message"]) <= LONGEST_MESSAGE for each in status["conditions"])
    assert scene.summarize(status, LATER + timedelta(hours=hours)) == status
    scene.pods.reverse()
    assert scene.summarize(status, LATER) == status, "the order of what was found says nothing"
    assert [told(status, kind)[0] for kind in ("Ready", "Stalled", "Progressing")].count("True") == 1
