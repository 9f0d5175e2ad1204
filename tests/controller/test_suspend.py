"""`suspend: true` stops all instances, and `false` starts them again."""

import pytest

from tests.controller.gateways import Gateway
from tests.controller.site import SCALED, TRITON, WITH_TRANSFORMER, Cluster, Json, Nodes, Operator, wait_for

pytestmark = pytest.mark.usefixtures("operator")
AUTOSCALED: Json = TRITON | {"predictor": {"triton": {}, **SCALED}}


def suspended(spec: Json) -> Json:
    return spec | {"suspend": True}


def numbers(cluster: Cluster, namespace: str) -> set[int]:
    return {each["spec"]["replicas"] for each in cluster.deployments(namespace).values()}


def wait_stopped(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    """Until nothing is left to wait for."""
    wait_for(
        lambda: (
            cluster.condition(namespace)["reason"] == "Suspended"
            and cluster.condition(namespace, type_="Progressing")["status"] == "False"
        ),
        why=lambda: cluster.status(namespace),
    )
    assert numbers(cluster, namespace) == {0}
    assert cluster.status(namespace)["instances"] == "0/0"
    assert cluster.condition(namespace, type_="Stalled")["status"] == "False"
    assert cluster.condition(namespace, type_="Available")["status"] == "False"
    assert gateway.site.routes()[f"{namespace}/digits"]["workloads"] == {}


def test_all_instances_stop_and_come_back(
    cluster: Cluster, gateway: Gateway, operator: Operator, namespace: str
) -> None:
    cluster.create(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    before = cluster.status(namespace)
    cluster.replace(namespace, suspended(WITH_TRANSFORMER))
    wait_stopped(cluster, gateway, namespace)
    operator.wait_quiet()
    writes = operator.count_writes()
    operator.wait_quiet()
    assert operator.count_writes() == writes
    cluster.replace(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    assert cluster.status(namespace)["activeRevision"] == before["activeRevision"]
    assert numbers(cluster, namespace) == {1}
    told = [(each["type"], each["reason"]) for each in cluster.events(namespace)]
    assert told.count(("Normal", "Suspended")) == 1
    assert not [each for each in told if each[0] == "Warning"]


def test_an_autoscaler_goes_and_comes_back(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    cluster.create(namespace, AUTOSCALED)
    cluster.wait_reason(namespace, "Ready")
    (name,) = cluster.deployments(namespace)
    cluster.replace(namespace, suspended(AUTOSCALED))
    wait_stopped(cluster, gateway, namespace)
    assert not cluster.find(namespace, "HorizontalPodAutoscaler", name)
    cluster.replace(namespace, AUTOSCALED)
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: cluster.find(namespace, "HorizontalPodAutoscaler", name))
    assert numbers(cluster, namespace) == {2}


def test_a_rollout_under_way_is_stopped_with_both_its_revisions(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, namespace: str
) -> None:
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    (old,) = cluster.deployments(namespace)
    nodes.held.add(namespace)
    other = TRITON | {"predictor": {"triton": {}, "resources": {"cpu": "2"}}}
    cluster.replace(namespace, other)
    wait_for(lambda: len(cluster.deployments(namespace)) == 2)
    nodes.release(namespace)
    cluster.replace(namespace, suspended(other))
    wait_stopped(cluster, gateway, namespace)
    wait_for(lambda: old not in cluster.deployments(namespace))
    cluster.replace(namespace, other)
    cluster.wait_reason(namespace, "Ready")
    status = cluster.status(namespace)
    assert status["activeRevision"] == status["targetRevision"]


def test_one_that_begins_suspended(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    cluster.create(namespace, suspended(TRITON))
    wait_stopped(cluster, gateway, namespace)
    cluster.replace(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
