"""A spec that can't be used any more, in the middle of a rollout: what serves gets all requests again."""

from typing import Any

import pytest

from tests.controller.gateways import Gateway
from tests.controller.site import Cluster, Json, Nodes, Operator, wait_for
from tests.controller.test_blue_green import LOOK
from tests.controller.test_canary import BY_HAND, patch, rollout_of, routed, shares, told, wait_phase
from tests.controller.test_history import list_numbers
from tests.controller.test_recreate import SWAP, count, end
from tests.controller.test_versions import make_version, served

pytestmark = pytest.mark.usefixtures("operator")


def name(version: str, rollout: Json | None = None, **model: Any) -> Json:
    spec: Json = {"model": {"version": f"digits:{version}"}, "predictor": {"triton": {}}}
    return spec | ({"rollout": rollout} if rollout else {}) | ({"model": model} if model else {})


def serve(cluster: Cluster, namespace: str, rollout: Json) -> str:
    """Version 3 serves, and 4 can be named: the name of the Deployment."""
    for each in "34":
        make_version(cluster, namespace, each)
    cluster.create(namespace, name("3", rollout))
    cluster.wait_reason(namespace, "Ready")
    (old,) = cluster.deployments(namespace)
    return old


def wait_alone(cluster: Cluster, gateway: Gateway, namespace: str, workload: str, reason: str) -> None:
    """Until it has all requests, and nothing is left of the other."""
    said = cluster.wait_reason(namespace, reason)
    wait_for(lambda: [*cluster.deployments(namespace)] == [workload], why=lambda: cluster.status(namespace))
    wait_for(lambda: routed(gateway, namespace) == {workload: 100})
    assert shares(cluster, namespace) == {workload: 100}
    wait_for(lambda: not rollout_of(cluster, namespace))
    status = cluster.status(namespace)
    assert said["message"].startswith(f"still serving {status['activeRevision']}; ")
    assert status["targetRevision"] == status["activeRevision"]
    wait_for(lambda: cluster.condition(namespace, type_="Available")["status"] == "True")
    for type_, wanted in (("Ready", "False"), ("Progressing", "False"), ("Stalled", "True")):
        found = cluster.condition(namespace, type_=type_)
        assert (found["status"], found["reason"]) == (wanted, reason)


def test_a_version_that_goes_takes_its_share_back(
    cluster: Cluster, gateway: Gateway, operator: Operator, namespace: str
) -> None:
    old = serve(cluster, namespace, BY_HAND)
    cluster.replace(namespace, name("4", BY_HAND))
    wait_phase(cluster, namespace, "Waiting", 1)
    numbers = [each[:2] for each in list_numbers(cluster, namespace)]
    warnings = told(cluster, namespace).count("UnknownModelVersion")
    cluster.delete(namespace, "ModelVersion", "digits-4")
    wait_alone(cluster, gateway, namespace, old, "UnknownModelVersion")
    operator.wait_quiet()
    writes = operator.count_writes()
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
    operator.wait_quiet()
    assert operator.count_writes() == writes
    assert [each[:2] for each in list_numbers(cluster, namespace)] == numbers, "nothing was rolled out"
    assert told(cluster, namespace).count("UnknownModelVersion") == warnings + 1
    # What changes with no new pods is of the present.
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"predictor": {"replicas": 2}}})
    wait_for(lambda: count(cluster, namespace) == {old: 2})
    make_version(cluster, namespace, "4")
    wait_phase(cluster, namespace, "Waiting", 1)
    assert [each[:2] for each in list_numbers(cluster, namespace)] == numbers


def test_a_preview_goes_with_an_address_that_pods_cannot_read(
    cluster: Cluster, gateway: Gateway, namespace: str
) -> None:
    old = serve(cluster, namespace, LOOK)
    cluster.replace(namespace, name("4", LOOK))
    wait_phase(cluster, namespace, "Waiting", 1)
    cluster.replace(namespace, name("4", LOOK, uri="file:///models/digits"))
    wait_alone(cluster, gateway, namespace, old, "UnreachableModel")
    assert "the changed spec can't be used: file:///models/digits" in cluster.condition(namespace)["message"]


@pytest.mark.parametrize("phase", ["Ending", "Starting"])
def test_held_requests_go_to_the_one_before(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, namespace: str, phase: str
) -> None:
    old = serve(cluster, namespace, SWAP)
    nodes.held.add(namespace)
    cluster.replace(namespace, name("4", SWAP))
    wait_for(lambda: count(cluster, namespace)[old] == 0)
    if phase == "Starting":
        end(cluster, namespace, old)
    wait_phase(cluster, namespace, phase, 0)
    cluster.replace(namespace, name("5", SWAP))
    cluster.wait_reason(namespace, "UnknownModelVersion")
    assert "requests wait" in cluster.condition(namespace, type_="Available")["message"]
    nodes.release(namespace)
    wait_alone(cluster, gateway, namespace, old, "UnknownModelVersion")
    wait_for(lambda: not gateway.site.routes()[f"{namespace}/digits"].get("heldSince"))
    assert count(cluster, namespace) == {old: 1}


def test_a_rollback_that_cannot_be_done_ends_the_rollout(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    old = serve(cluster, namespace, BY_HAND)
    cluster.replace(namespace, name("4", BY_HAND))
    wait_phase(cluster, namespace, "Waiting", 1)
    patch(cluster, namespace, rollback={"from": cluster.status(namespace)["targetRevision"], "to": "0badcafe"})
    wait_alone(cluster, gateway, namespace, old, "RollbackFailed")


def test_rolled_back_from_a_version_that_is_gone(cluster: Cluster, namespace: str) -> None:
    serve(cluster, namespace, {"paused": False})
    first = cluster.status(namespace)["activeRevision"]
    cluster.replace(namespace, name("4"))
    wait_for(lambda: served(cluster, namespace) == ["s3://models/digits/4"])
    cluster.wait_reason(namespace, "Ready")
    second = cluster.status(namespace)["activeRevision"]
    cluster.delete(namespace, "ModelVersion", "digits-4")
    cluster.wait_reason(namespace, "UnknownModelVersion")
    patch(cluster, namespace, rollback={"from": second, "to": first})
    wait_for(lambda: served(cluster, namespace) == ["s3://models/digits/3"])
    said = f"still serving {first}; what spec.model.version names can't be used: "
    wait_for(lambda: cluster.condition(namespace)["message"].startswith(said))
    assert cluster.condition(namespace, type_="RolledBack")["status"] == "True"
    assert cluster.status(namespace)["rollback"] == {"from": second, "to": first}
    make_version(cluster, namespace, "4")
    cluster.wait_reason(namespace, "Ready")
    assert served(cluster, namespace) == ["s3://models/digits/3"], "the spec asks for it no less"


def test_what_was_aborted_stays_so(cluster: Cluster, namespace: str) -> None:
    old = serve(cluster, namespace, BY_HAND)
    cluster.replace(namespace, name("4", BY_HAND))
    wait_phase(cluster, namespace, "Waiting", 1)
    patch(cluster, namespace, abort=cluster.status(namespace)["targetRevision"])
    before = wait_phase(cluster, namespace, "Aborted", 0)
    cluster.delete(namespace, "ModelVersion", "digits-4")
    cluster.wait_reason(namespace, "UnknownModelVersion")
    assert rollout_of(cluster, namespace)["revision"] == before["revision"]
    assert shares(cluster, namespace) == {old: 100}
    make_version(cluster, namespace, "4")
    cluster.wait_reason(namespace, "RolloutAborted")
