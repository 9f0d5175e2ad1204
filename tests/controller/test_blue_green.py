"""A revision that can be looked at before it takes over, and the one before that is kept for a while."""

from typing import Any

import pytest

from tests.controller.gateways import Gateway
from tests.controller.site import SCALED, Cluster, Json, Nodes, Operator, wait_for
from tests.controller.test_canary import begin, mark, patch, predictor, rollout_of, routed, shares, told, wait_phase

pytestmark = pytest.mark.usefixtures("operator")
LOOK: Json = {"blueGreen": {}, "scaleDownDelay": "1h"}
AT_ONCE: Json = {"blueGreen": {"pause": "0s"}, "scaleDownDelay": "1h"}


def workloads(gateway: Gateway, namespace: str) -> dict[str, int]:
    found: dict[str, int] = gateway.site.routes()[f"{namespace}/digits"]["workloads"]
    return found


def warm(cluster: Cluster, namespace: str) -> Json:
    found: Json = cluster.status(namespace).get("warm", {})
    return found


def wait_serving(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.wait_reason(namespace, "Ready")
    assert shares(cluster, namespace) == {name: 100}
    assert not rollout_of(cluster, namespace)


def test_looked_at_and_let_on(cluster: Cluster, gateway: Gateway, operator: Operator, namespace: str) -> None:
    old, new = begin(cluster, namespace, predictor(LOOK), predictor(LOOK, cpu="2"))
    found = wait_phase(cluster, namespace, "Waiting", 1)
    assert workloads(gateway, namespace) == {old: 1, new: 1}
    assert routed(gateway, namespace) == {old: 100}
    assert found["workload"] == new
    assert found["preview"] == f"http://forebay-gateway.forebay-system.svc.cluster.local/{namespace}/digits@preview"
    said = cluster.condition(namespace)
    assert (said["status"], said["reason"]) == ("False", "RolloutPaused")
    assert found["preview"] in said["message"]
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    operator.wait_quiet()
    writes = operator.count_writes()
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
    operator.wait_quiet()
    assert operator.count_writes() == writes
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"]})
    wait_serving(cluster, namespace, new)
    assert routed(gateway, namespace) == {new: 100}
    kept = warm(cluster, namespace)
    assert kept["workloads"] == [old]
    assert kept["until"] > kept["since"]
    operator.wait_quiet()
    assert set(cluster.deployments(namespace)) == {old, new}
    reasons = told(cluster, namespace)
    assert (reasons.count("RolloutPreview"), reasons.count("RolloutPromoted")) == (1, 1)
    assert "RolloutStep" not in reasons
    # Somebody needs its room.
    patch(cluster, namespace, scaleDownDelay="0s")
    wait_for(lambda: set(cluster.deployments(namespace)) == {new})
    wait_for(lambda: not warm(cluster, namespace))


def test_back_at_once_also_after_the_operator_died(
    cluster: Cluster, gateway: Gateway, operator: Operator, nodes: Nodes, namespace: str
) -> None:
    old, new = begin(cluster, namespace, predictor(AT_ONCE), predictor(AT_ONCE, cpu="2"))
    wait_serving(cluster, namespace, new)
    before, uid = warm(cluster, namespace), cluster.deployments(namespace)[old]["metadata"]["uid"]
    assert before
    operator.kill()
    operator.start()
    operator.wait_leading()
    operator.wait_quiet()
    assert warm(cluster, namespace) == before
    # Nothing is started: no instance would become ready.
    nodes.held.add(namespace)
    cluster.replace(namespace, predictor(LOOK))
    wait_serving(cluster, namespace, old)
    assert routed(gateway, namespace) == {old: 100}
    assert cluster.deployments(namespace)[old]["metadata"]["uid"] == uid
    wait_for(lambda: set(cluster.deployments(namespace)) == {old})
    # What somebody went back from is not kept.
    wait_for(lambda: not warm(cluster, namespace))
    nodes.release(namespace)


def test_what_is_kept_has_as_many_as_it_had_and_ends_by_time(cluster: Cluster, namespace: str) -> None:
    rollout = AT_ONCE | {"scaleDownDelay": "3s"}
    old, new = begin(cluster, namespace, predictor(rollout, **SCALED), predictor(rollout, cpu="2", **SCALED))
    wait_for(lambda: warm(cluster, namespace) or set(cluster.deployments(namespace)) == {new})
    wait_for(lambda: not cluster.find(namespace, "HorizontalPodAutoscaler", old))
    assert cluster.find(namespace, "HorizontalPodAutoscaler", new)
    wait_for(lambda: set(cluster.deployments(namespace)) == {new})
    wait_serving(cluster, namespace, new)
    wait_for(lambda: not warm(cluster, namespace))


def test_a_third_one_needs_its_room(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    old, new = begin(cluster, namespace, predictor(AT_ONCE), predictor(AT_ONCE, cpu="2"))
    wait_serving(cluster, namespace, new)
    cluster.replace(namespace, predictor(LOOK, cpu="3"))
    wait_for(lambda: old not in cluster.deployments(namespace))
    wait_phase(cluster, namespace, "Waiting", 1)
    assert routed(gateway, namespace) == {new: 100}
    wait_for(lambda: not warm(cluster, namespace))


def test_aborted_and_one_that_goes_down(cluster: Cluster, gateway: Gateway, nodes: Nodes, namespace: str) -> None:
    old, new = begin(cluster, namespace, predictor(LOOK), predictor(LOOK, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    nodes.held.add(namespace)
    mark(cluster, namespace, new, 0)
    wait_phase(cluster, namespace, "Down", 1)
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"]})
    wait_for(
        lambda: (
            cluster.condition(namespace)["observedGeneration"]
            == cluster.find(namespace, "ModelDeployment", "digits")["metadata"]["generation"]
        )
    )
    assert shares(cluster, namespace) == {old: 100}
    patch(cluster, namespace, promote=None)
    nodes.release(namespace)
    wait_phase(cluster, namespace, "Waiting", 1)
    patch(cluster, namespace, abort=cluster.status(namespace)["targetRevision"])
    wait_for(lambda: cluster.deployments(namespace)[new]["spec"]["replicas"] == 0)
    wait_phase(cluster, namespace, "Aborted", 0)
    assert not rollout_of(cluster, namespace).get("preview")
    assert set(workloads(gateway, namespace)) == {old}


def test_steps_can_be_looked_at_by_name(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    steps: Any = {"canary": {"steps": [{"weight": 10}]}, "paused": True}
    old, new = begin(cluster, namespace, predictor(steps), predictor(steps, cpu="2"))
    wait_phase(cluster, namespace, "Paused", 0)
    wait_for(lambda: workloads(gateway, namespace) == {old: 1, new: 1})
    assert routed(gateway, namespace) == {old: 100}
