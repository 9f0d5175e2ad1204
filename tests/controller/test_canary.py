"""A rollout by steps: by time and by hand, aborted, turned back, changed, and with an operator that dies in it."""

import json
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest

from forebay.kube.resources import AUTOSCALER
from tests.controller.gateways import Gateway
from tests.controller.site import (
    BY_KIND,
    SCALED,
    TRITON,
    WITH_TRANSFORMER,
    Cluster,
    History,
    Json,
    Nodes,
    Operator,
    wait_for,
)

pytestmark = pytest.mark.usefixtures("operator")
BY_HAND: Json = {"canary": {"steps": [{"weight": 10}, {"weight": 50}]}}
LONG: Json = {"canary": {"steps": [{"weight": 10, "pause": "1h"}, {"weight": 50, "pause": "1h"}]}}
SHORT: Json = {"canary": {"steps": [{"weight": 10, "pause": "1s"}, {"weight": 50, "pause": "1s"}]}}


def predictor(rollout: Json | None = None, *, cpu: str = "1", **fields: Any) -> Json:
    spec = TRITON | {"predictor": {"triton": {}, "resources": {"cpu": cpu}, **fields}}
    return spec | ({"rollout": rollout} if rollout else {})


def rollout_of(cluster: Cluster, namespace: str) -> Json:
    found: Json = cluster.status(namespace).get("rollout", {})
    return found


def wait_phase(cluster: Cluster, namespace: str, phase: str, step: int) -> Json:
    def look() -> Json:
        found = rollout_of(cluster, namespace)
        return found if (found.get("phase"), found.get("step")) == (phase, step) else {}

    found: Json = wait_for(look, why=lambda: f"{phase} {step}: {cluster.status(namespace)}")
    return found


def shares(cluster: Cluster, namespace: str) -> dict[str, int]:
    return {each["workload"]: each["weightPct"] for each in cluster.status(namespace)["traffic"]}


def routed(gateway: Gateway, namespace: str) -> dict[str, int]:
    found: dict[str, int] = gateway.site.routes().get(f"{namespace}/digits", {}).get("weights", {})
    return found


def begin(cluster: Cluster, namespace: str, before: Json, after: Json) -> tuple[str, str]:
    """Serve one, and ask for another: the names of both Deployments."""
    cluster.create(namespace, before)
    cluster.wait_reason(namespace, "Ready")
    (old,) = cluster.deployments(namespace)
    cluster.replace(namespace, after)
    wait_for(lambda: len(cluster.deployments(namespace)) == 2)
    (new,) = cluster.deployments(namespace).keys() - {old}
    return old, new


def patch(cluster: Cluster, namespace: str, **rollout: Any) -> None:
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"rollout": rollout}})


def mark(cluster: Cluster, namespace: str, name: str, ready: int) -> None:
    """What the Deployment's controller would tell of its instances; a held namespace stays so."""
    status = {"readyReplicas": ready, "availableReplicas": ready}
    path = BY_KIND["Deployment"].path(namespace=namespace, name=name, subresource="status")
    cluster.write("PATCH", path, {"status": status}, form="application/merge-patch+json")


def wait_done(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: set(cluster.deployments(namespace)) == {name})
    assert shares(cluster, namespace) == {name: 100}
    assert not rollout_of(cluster, namespace)


def told(cluster: Cluster, namespace: str) -> list[str]:
    return [each["reason"] for each in cluster.events(namespace)]


def test_steps_by_time(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    with closing(History(cluster, namespace, "ModelDeployment")) as history:
        _, new = begin(cluster, namespace, predictor(SHORT), predictor(SHORT, cpu="2"))
        wait_done(cluster, namespace, new)
        assert routed(gateway, namespace) == {new: 100}
        weights = [
            [share["weightPct"] for share in each["status"]["traffic"]]
            for _, each in list(history.seen)
            if each.get("status", {}).get("traffic")
        ]
        assert [each for index, each in enumerate(weights) if not index or weights[index - 1] != each] == [
            [100], [90, 10], [50, 50], [100],
        ]  # fmt: skip
        available = [each["status"] for each in history.conditions("Available")]
        assert "False" not in available[available.index("True") :]
        ready = [each for each in history.conditions("Ready") if each["reason"] == "RollingOut"]
        assert {each["status"] for each in ready} == {"False"}
        assert any(
            "step 2 of 2: 50 % of the requests go to it, all of them from 2" in each["message"] for each in ready
        )
        running = [each["status"]["rollout"] for _, each in list(history.seen) if each["status"].get("rollout")]
        for each in running:
            if each["phase"] == "Running":
                since, until = (datetime.fromisoformat(each[name]) for name in ("since", "until"))
                assert (until - since).total_seconds() == 1
                assert each["routedPct"] == each["weightPct"]
    reasons = told(cluster, namespace)
    assert reasons.count("RolloutStep") == 2
    assert "RolloutPromoted" not in reasons
    assert not [each for each in cluster.events(namespace) if each["type"] == "Warning"]


def test_steps_by_hand(cluster: Cluster, gateway: Gateway, operator: Operator, namespace: str) -> None:
    old, new = begin(cluster, namespace, predictor(BY_HAND), predictor(BY_HAND, cpu="2"))
    found = wait_phase(cluster, namespace, "Waiting", 1)
    assert (found["weightPct"], found["routedPct"], found["steps"]) == (10, 10, 2)
    assert shares(cluster, namespace) == routed(gateway, namespace) == {old: 90, new: 10}
    said = cluster.condition(namespace)
    assert (said["status"], said["reason"]) == ("False", "RolloutPaused")
    assert f"forebay promote digits -n {namespace}" in said["message"]
    assert cluster.condition(namespace, type_="Stalled")["status"] == "False"
    assert cluster.condition(namespace, type_="Progressing")["status"] == "True"
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    operator.wait_quiet()
    writes = operator.count_writes()
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
    operator.wait_quiet()
    assert operator.count_writes() == writes
    assert operator.metrics()[f"forebay_rollout_weight_pct digits {namespace}"] == 10
    revision = cluster.status(namespace)["targetRevision"]
    # Of another revision it says nothing, as one that was left in Git.
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["activeRevision"]})
    operator.wait_quiet()
    assert rollout_of(cluster, namespace)["step"] == 1
    patch(cluster, namespace, promote={"revision": revision, "step": 1})
    wait_phase(cluster, namespace, "Waiting", 2)
    assert routed(gateway, namespace) == {old: 50, new: 50}
    patch(cluster, namespace, promote={"revision": revision, "step": None})
    wait_done(cluster, namespace, new)
    reasons = told(cluster, namespace)
    assert (reasons.count("RolloutStep"), reasons.count("RolloutPromoted")) == (2, 2)
    assert reasons.count("RolloutPaused") == 2
    assert f"forebay_rollout_weight_pct digits {namespace}" not in operator.metrics()


def test_promoted_to_the_end_before_its_time(cluster: Cluster, namespace: str) -> None:
    _, new = begin(cluster, namespace, predictor(LONG), predictor(LONG, cpu="2"))
    wait_phase(cluster, namespace, "Running", 1)
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"]})
    wait_done(cluster, namespace, new)
    assert "RolloutPromoted" in told(cluster, namespace)


def test_paused_and_resumed(cluster: Cluster, operator: Operator, namespace: str) -> None:
    _, new = begin(cluster, namespace, predictor(SHORT), predictor(SHORT | {"paused": True}, cpu="2"))
    wait_phase(cluster, namespace, "Paused", 0)
    assert "spec.rollout.paused holds it" in cluster.condition(namespace)["message"]
    patch(cluster, namespace, paused=None)
    wait_phase(cluster, namespace, "Running", 1)
    patch(cluster, namespace, paused=True, **LONG)
    wait_for(lambda: rollout_of(cluster, namespace)["phase"] == "Paused")
    step = rollout_of(cluster, namespace)["step"]
    patch(cluster, namespace, **SHORT)
    operator.wait_quiet(for_s=2.5)
    assert rollout_of(cluster, namespace)["step"] == step
    patch(cluster, namespace, paused=False)
    wait_done(cluster, namespace, new)


def test_aborted_and_tried_again(
    cluster: Cluster, gateway: Gateway, operator: Operator, nodes: Nodes, namespace: str
) -> None:
    old, new = begin(cluster, namespace, predictor(LONG), predictor(LONG, cpu="2"))
    wait_phase(cluster, namespace, "Running", 1)
    patch(cluster, namespace, abort=cluster.status(namespace)["targetRevision"])
    wait_for(lambda: cluster.deployments(namespace)[new]["spec"]["replicas"] == 0)
    assert routed(gateway, namespace) == {old: 100}
    wait_phase(cluster, namespace, "Aborted", 0)
    said = cluster.condition(namespace)
    assert (said["status"], said["reason"]) == ("False", "RolloutAborted")
    assert "was aborted" in said["message"]
    assert f"forebay resume digits -n {namespace}" in said["message"]
    assert cluster.condition(namespace, type_="Stalled")["status"] == "True"
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    assert told(cluster, namespace).count("RolloutAborted") == 1
    assert "Scaled" not in told(cluster, namespace)
    operator.wait_quiet()
    writes = operator.count_writes()
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
    operator.wait_quiet()
    assert operator.count_writes() == writes
    patch(cluster, namespace, abort=None)
    wait_phase(cluster, namespace, "Running", 1)
    assert routed(gateway, namespace) == {old: 90, new: 10}
    # Another spec than the aborted one is another rollout.
    patch(cluster, namespace, abort=cluster.status(namespace)["targetRevision"])
    wait_phase(cluster, namespace, "Aborted", 0)
    cluster.replace(namespace, predictor(SHORT, cpu="3"))
    wait_for(lambda: new not in cluster.deployments(namespace))
    cluster.wait_reason(namespace, "Ready")
    assert old not in shares(cluster, namespace)


def limit(cluster: Cluster, namespace: str, *, most: int) -> None:
    more = {"predictor": {"autoscaling": {"max": most}}}
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": more})


def limits(cluster: Cluster, namespace: str) -> dict[str, tuple[int, int]]:
    """The fewest and the most instances of each autoscaler."""
    found = {each["metadata"]["name"]: each["spec"] for each in cluster.list_all(AUTOSCALER, namespace)}
    return {name: (spec["minReplicas"], spec["maxReplicas"]) for name, spec in found.items()}


def test_aborted_with_autoscalers_of_both(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    old, new = begin(cluster, namespace, predictor(LONG, **SCALED), predictor(LONG, cpu="2", **SCALED))
    wait_phase(cluster, namespace, "Running", 1)
    children = set(cluster.list_children(namespace))
    assert {f"HorizontalPodAutoscaler/{old}", f"HorizontalPodAutoscaler/{new}"} <= children
    assert {f"Service/{old}", "PodDisruptionBudget/digits-predictor", "NetworkPolicy/digits-predictor"} <= children
    limit(cluster, namespace, most=5)
    wait_for(lambda: limits(cluster, namespace) == {old: (2, 5), new: (2, 5)})
    patch(cluster, namespace, abort=cluster.status(namespace)["targetRevision"])
    wait_for(lambda: cluster.deployments(namespace)[new]["spec"]["replicas"] == 0)
    wait_for(lambda: not cluster.find(namespace, "HorizontalPodAutoscaler", new))
    assert cluster.find(namespace, "HorizontalPodAutoscaler", old)
    limit(cluster, namespace, most=6)
    wait_for(lambda: limits(cluster, namespace) == {old: (2, 6)}, why=lambda: limits(cluster, namespace))
    cluster.patch(namespace, "HorizontalPodAutoscaler", old, {"spec": {"minReplicas": 4}})
    wait_for(lambda: limits(cluster, namespace) == {old: (2, 6)}, why=lambda: limits(cluster, namespace))
    assert cluster.deployments(namespace)[old]["spec"]["replicas"] == 2
    assert routed(gateway, namespace) == {old: 100}
    patch(cluster, namespace, abort=None)
    wait_phase(cluster, namespace, "Running", 1)
    assert cluster.deployments(namespace)[new]["spec"]["replicas"] == 2
    assert cluster.find(namespace, "HorizontalPodAutoscaler", new)


def test_turned_back_and_changed_midway(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    old, new = begin(cluster, namespace, predictor(LONG), predictor(LONG, cpu="2"))
    wait_phase(cluster, namespace, "Running", 1)
    cluster.replace(namespace, predictor(LONG))
    wait_done(cluster, namespace, old)
    assert routed(gateway, namespace) == {old: 100}
    cluster.replace(namespace, predictor(BY_HAND, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"], "step": 1})
    wait_phase(cluster, namespace, "Waiting", 2)
    cluster.replace(namespace, predictor(BY_HAND, cpu="3"))
    wait_for(lambda: new not in cluster.deployments(namespace))
    wait_phase(cluster, namespace, "Waiting", 1)
    (third,) = cluster.deployments(namespace).keys() - {old}
    assert routed(gateway, namespace) == {old: 90, third: 10}
    assert cluster.deployments(namespace)[old]["metadata"]["generation"] == 1


def test_one_that_goes_down_gets_nothing_until_it_is_up(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, namespace: str
) -> None:
    old, new = begin(cluster, namespace, predictor(SHORT | LONG), predictor(LONG, cpu="2", replicas=2))
    wait_phase(cluster, namespace, "Running", 1)
    nodes.held.add(namespace)
    mark(cluster, namespace, new, 0)
    wait_phase(cluster, namespace, "Down", 1)
    wait_for(lambda: routed(gateway, namespace) == {old: 100})
    said = cluster.condition(namespace)
    assert "failed in step 1, and gets no requests" in said["message"]
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"]})
    mark(cluster, namespace, new, 1)
    wait_for(lambda: cluster.condition(namespace)["observedGeneration"] == 3)
    assert shares(cluster, namespace) == {old: 100}
    patch(cluster, namespace, promote=None)
    nodes.release(namespace)
    wait_phase(cluster, namespace, "Running", 1)
    assert routed(gateway, namespace) == {old: 90, new: 10}
    # An Event comes after the status.
    wait_for(lambda: "RolloutContinued" in told(cluster, namespace))
    reasons = told(cluster, namespace)
    assert (reasons.count("RolloutHalted"), reasons.count("RolloutContinued")) == (1, 1)


def test_more_instances_are_no_fall(cluster: Cluster, nodes: Nodes, namespace: str) -> None:
    """An autoscaler may ask for more at any time: the rollout waits with its next step, and no more."""
    old, new = begin(cluster, namespace, predictor(SHORT), predictor(BY_HAND, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    nodes.held.add(namespace)
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"predictor": {"replicas": 3}}})
    wait_for(lambda: cluster.deployments(namespace)[new]["spec"]["replicas"] == 3)
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"], "step": 1})
    status = {"observedGeneration": 2, "replicas": 3, "readyReplicas": 1, "updatedReplicas": 3}
    path = BY_KIND["Deployment"].path(namespace=namespace, name=new, subresource="status")
    cluster.write("PATCH", path, {"status": status}, form="application/merge-patch+json")
    wait_phase(cluster, namespace, "Unready", 1)
    assert shares(cluster, namespace) == {old: 90, new: 10}
    nodes.release(namespace)
    wait_phase(cluster, namespace, "Waiting", 2)
    assert "RolloutHalted" not in told(cluster, namespace)


def test_another_transformer_before_the_same_predictor(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    cluster.create(namespace, WITH_TRANSFORMER | {"rollout": BY_HAND})
    cluster.wait_reason(namespace, "Ready")
    before = cluster.deployments(namespace)
    script = "class Transformer:\n    def postprocess(self, outputs):\n        return outputs\n"
    cluster.replace(namespace, TRITON | {"transformer": {"custom": {"script": script}}, "rollout": BY_HAND})
    wait_phase(cluster, namespace, "Waiting", 1)
    after = cluster.deployments(namespace)
    (new,) = after.keys() - before.keys()
    assert len(after) == 3
    assert routed(gateway, namespace)[new] == 10
    patch(cluster, namespace, abort=cluster.status(namespace)["targetRevision"])
    wait_for(lambda: cluster.deployments(namespace)[new]["spec"]["replicas"] == 0)
    for name, deployment in before.items():
        found = cluster.deployments(namespace)[name]
        assert found["metadata"]["uid"] == deployment["metadata"]["uid"]
        assert found["metadata"]["generation"] == 1


def test_suspended_midway(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    """Who has steps to go doesn't skip them by that, and who serves comes back with as many as it had."""
    old, new = begin(cluster, namespace, predictor(LONG, **SCALED), predictor(LONG, cpu="2", **SCALED))
    wait_phase(cluster, namespace, "Running", 1)
    cluster.patch(namespace, "Deployment", old, {"spec": {"replicas": 3}})
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"suspend": True}})
    wait_for(lambda: {each["spec"]["replicas"] for each in cluster.deployments(namespace).values()} == {0})
    wait_for(lambda: rollout_of(cluster, namespace)["phase"] == "Starting" and routed(gateway, namespace) == {})
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"suspend": False}})
    wait_phase(cluster, namespace, "Running", 1)
    assert routed(gateway, namespace) == {old: 90, new: 10}
    assert cluster.deployments(namespace)[old]["spec"]["replicas"] == 3
    wait_for(lambda: not rollout_of(cluster, namespace)["instancesBefore"])
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"]})
    wait_done(cluster, namespace, new)


def test_an_operator_that_dies_in_a_step(
    cluster: Cluster, gateway: Gateway, operator: Operator, namespace: str
) -> None:
    old, new = begin(cluster, namespace, predictor(LONG), predictor(LONG, cpu="2"))
    before = wait_phase(cluster, namespace, "Running", 1)
    operator.kill()
    assert routed(gateway, namespace) == {old: 90, new: 10}
    revision = cluster.status(namespace)["targetRevision"]
    operator.start()
    operator.wait_leading()
    operator.wait_quiet()
    assert rollout_of(cluster, namespace) == before
    operator.kill()
    patch(cluster, namespace, promote={"revision": revision, "step": 1})
    operator.start()
    operator.wait_leading()
    wait_phase(cluster, namespace, "Running", 2)
    operator.kill()
    patch(cluster, namespace, abort=revision)
    operator.start()
    operator.wait_leading()
    wait_phase(cluster, namespace, "Aborted", 0)
    wait_for(lambda: cluster.deployments(namespace)[new]["spec"]["replicas"] == 0)
    assert routed(gateway, namespace) == {old: 100}
    assert json.dumps(cluster.status(namespace)["traffic"]).count("weightPct") == 1
