"""A revision that takes the place of the one before: never both at once, and requests are held meanwhile."""

import signal
from contextlib import closing
from pathlib import Path

import pytest

from tests.controller.conftest import SYSTEM, build_gateway_address
from tests.controller.gateways import Gateway
from tests.controller.site import BY_KIND, SCALED, TRITON, Cluster, History, Json, Nodes, Operator, wait_for
from tests.controller.test_canary import begin, patch, predictor, rollout_of, routed, shares, told, wait_phase

pytestmark = pytest.mark.usefixtures("operator")
SWAP: Json = {"recreate": {}}


def count(cluster: Cluster, namespace: str) -> dict[str, int]:
    return {name: each["spec"]["replicas"] for name, each in cluster.deployments(namespace).items()}


def wait_serving(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: set(cluster.deployments(namespace)) == {name})
    assert shares(cluster, namespace) == {name: 100}
    assert not rollout_of(cluster, namespace)


def end(cluster: Cluster, namespace: str, name: str) -> None:
    """What the Deployment's controller would tell when its last instance is gone, in a held namespace."""
    found = cluster.deployments(namespace)[name]
    status = {"observedGeneration": found["metadata"]["generation"], "replicas": 0, "readyReplicas": 0,
              "updatedReplicas": 0, "availableReplicas": 0}  # fmt: skip
    path = BY_KIND["Deployment"].path(namespace=namespace, name=name, subresource="status")
    cluster.write("PATCH", path, {"status": status}, form="application/merge-patch+json")


def add_pod(cluster: Cluster, namespace: str, workload: str, **container: Json) -> str:
    """A pod of a workload, which nobody runs, and which takes its time to end."""
    labels = cluster.deployments(namespace)[workload]["spec"]["template"]["metadata"]["labels"]
    metadata = {"name": f"{workload}-x", "labels": labels, "finalizers": ["test/stays"]}
    body = {"metadata": metadata, "spec": {"containers": [{"name": "predictor", "image": "none.test/x", **container}]}}
    cluster.write("POST", f"/api/v1/namespaces/{namespace}/pods", body)
    return f"/api/v1/namespaces/{namespace}/pods/{workload}-x"


def end_pod(cluster: Cluster, path: str) -> None:
    """It has ended at last."""
    cluster.write("PATCH", path, {"metadata": {"finalizers": None}}, form="application/merge-patch+json")
    cluster.client.delete(path, params={"gracePeriodSeconds": "0"})


def test_one_ends_before_the_other_starts(
    cluster: Cluster, gateway: Gateway, operator: Operator, namespace: str
) -> None:
    with (
        closing(History(cluster, namespace)) as history,
        closing(History(cluster, namespace, "ModelDeployment")) as said,
    ):
        cluster.create(namespace, predictor(SWAP, **SCALED))
        cluster.wait_reason(namespace, "Ready")
        (old,) = cluster.deployments(namespace)
        cluster.replace(namespace, predictor(SWAP, cpu="2", **SCALED))
        wait_for(lambda: len(cluster.deployments(namespace)) == 2)
        (new,) = cluster.deployments(namespace).keys() - {old}
        wait_serving(cluster, namespace, new)
        assert routed(gateway, namespace) == {new: 100}
        now: dict[str, int] = {}
        for _, each in list(history.seen):
            now[each["metadata"]["name"]] = each["status"].get("replicas", 0) + each["spec"]["replicas"]
            assert not (now.get(old) and now.get(new)), "both have instances"
        assert history.numbers(old)[-1] == 0
        assert history.numbers(new) == [0, 2]
        phases = [each["status"]["rollout"]["phase"] for _, each in list(said.seen) if each["status"].get("rollout")]
        assert list(dict.fromkeys(phases))[:3] == ["Holding", "Ending", "Starting"]
        available = said.conditions("Available")
        begun = [each["status"] for each in available].index("True")
        assert [each for each in available[begun:] if each["status"] == "False"] == []
        messages = {each["message"] for each in available}
        assert any("requests wait while the instances" in each for each in messages)
    reasons = told(cluster, namespace)
    assert reasons.count("RolloutHolding") == 1
    assert not {"Scaled", "RolloutPromoted"} & set(reasons)
    assert not [each for each in cluster.events(namespace) if each["type"] == "Warning"]


def test_its_pods_are_waited_for_and_the_operator_may_die(
    cluster: Cluster, gateway: Gateway, operator: Operator, nodes: Nodes, namespace: str
) -> None:
    cluster.create(namespace, predictor(SWAP))
    cluster.wait_reason(namespace, "Ready")
    (old,) = cluster.deployments(namespace)
    pod = add_pod(cluster, namespace, old)
    cluster.replace(namespace, predictor(SWAP, cpu="2"))
    found = wait_phase(cluster, namespace, "Ending", 0)
    assert found["instancesBefore"] == {old: 1}
    wait_for(lambda: gateway.site.routes()[f"{namespace}/digits"]["heldSince"] == found["heldSince"])
    (new,) = cluster.deployments(namespace).keys() - {old}
    operator.wait_quiet()
    assert count(cluster, namespace) == {old: 0, new: 0}
    operator.kill()
    operator.start()
    operator.wait_leading()
    operator.wait_quiet()
    assert count(cluster, namespace) == {old: 0, new: 0}
    assert rollout_of(cluster, namespace) == found
    said = cluster.condition(namespace)
    assert f"requests wait; the instances of {cluster.status(namespace)['activeRevision']} end first" in said["message"]
    nodes.held.add(namespace)
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
    end_pod(cluster, pod)
    wait_phase(cluster, namespace, "Starting", 0)
    operator.kill()
    nodes.release(namespace)
    operator.start()
    operator.wait_leading()
    wait_serving(cluster, namespace, new)


def test_a_silent_pod_of_the_gateway_keeps_no_request_waiting(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, namespace: str, tmp_path: Path
) -> None:
    """None is held before it answers; where it falls silent later, the others lead on without it."""
    rollout = {"recreate": {"hold": "5s"}}
    address = build_gateway_address(3)
    with Gateway(cluster, tmp_path, namespace=SYSTEM, name="gateway-3", address=address) as other:
        cluster.create(namespace, predictor(rollout))
        cluster.wait_reason(namespace, "Ready")
        (old,) = cluster.deployments(namespace)
        pilot = other.site.pilot
        assert pilot is not None
        try:
            pilot.send_signal(signal.SIGSTOP)
            # It is asked again when something changes.
            patch(cluster, namespace, history=9)
            cluster.wait_reason(namespace, "GatewayNotReady")
            cluster.replace(namespace, predictor(rollout, cpu="2"))
            wait_for(lambda: "hold the requests, but not every pod" in cluster.condition(namespace)["message"])
            (new,) = cluster.deployments(namespace).keys() - {old}
            assert not rollout_of(cluster, namespace)["heldSince"]
            assert count(cluster, namespace) == {old: 1, new: 0}
            nodes.held.add(namespace)
            pilot.send_signal(signal.SIGCONT)
            wait_for(lambda: count(cluster, namespace)[old] == 0)
            end(cluster, namespace, old)
            wait_phase(cluster, namespace, "Starting", 0)
            pilot.send_signal(signal.SIGSTOP)
            nodes.release(namespace)
            wait_for(lambda: shares(cluster, namespace) == routed(gateway, namespace) == {new: 100})
            assert "heldSince" not in gateway.site.routes()[f"{namespace}/digits"]
        finally:
            pilot.send_signal(signal.SIGCONT)
        wait_serving(cluster, namespace, new)


def test_too_late_the_old_one_comes_back(
    cluster: Cluster, gateway: Gateway, operator: Operator, nodes: Nodes, namespace: str
) -> None:
    rollout = {"recreate": {"deadline": "10s"}}
    old, new = begin(
        cluster, namespace, predictor(rollout, **SCALED), predictor(rollout | {"paused": True}, cpu="2", **SCALED)
    )
    wait_phase(cluster, namespace, "Paused", 0)
    assert count(cluster, namespace) == {old: 2, new: 0}
    nodes.held.add(namespace)
    patch(cluster, namespace, paused=None)
    wait_for(lambda: count(cluster, namespace)[old] == 0)
    end(cluster, namespace, old)
    wait_phase(cluster, namespace, "Starting", 0)
    # Nobody makes the new one's ready.
    wait_phase(cluster, namespace, "Failed", 0)
    wait_for(lambda: count(cluster, namespace) == {old: 0, new: 0})
    end(cluster, namespace, new)
    nodes.release(namespace)
    wait_for(lambda: count(cluster, namespace)[old] == 2)
    wait_for(lambda: not rollout_of(cluster, namespace)["heldSince"])
    assert routed(gateway, namespace) == {old: 100}
    found = rollout_of(cluster, namespace)
    assert (found["phase"], found["message"]) == ("Failed", "0 of its 2 instances were ready within 10 s")
    said = cluster.condition(namespace)
    assert (said["status"], said["reason"]) == ("False", "RolloutFailed")
    assert "has failed: 0 of its 2 instances were ready within 10 s" in said["message"]
    assert cluster.condition(namespace, type_="Stalled")["status"] == "True"
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    assert told(cluster, namespace).count("RolloutFailed") == 1
    operator.wait_quiet()
    writes = operator.count_writes()
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
    operator.wait_quiet()
    assert operator.count_writes() == writes
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"]})
    wait_serving(cluster, namespace, new)
    assert count(cluster, namespace) == {new: 2}


def test_aborted_and_turned_back_midway(
    cluster: Cluster, gateway: Gateway, operator: Operator, nodes: Nodes, namespace: str
) -> None:
    old, new = begin(cluster, namespace, predictor(SWAP), predictor(SWAP | {"paused": True}, cpu="2"))
    wait_phase(cluster, namespace, "Paused", 0)
    nodes.held.add(namespace)
    patch(cluster, namespace, paused=None)
    wait_for(lambda: count(cluster, namespace)[old] == 0)
    end(cluster, namespace, old)
    wait_phase(cluster, namespace, "Starting", 0)
    patch(cluster, namespace, abort=cluster.status(namespace)["targetRevision"])
    wait_phase(cluster, namespace, "Aborted", 0)
    wait_for(lambda: count(cluster, namespace)[new] == 0)
    assert count(cluster, namespace)[old] == 0
    end(cluster, namespace, new)
    wait_for(lambda: count(cluster, namespace)[old] == 1)
    assert rollout_of(cluster, namespace)["heldSince"]
    nodes.release(namespace)
    wait_for(lambda: not rollout_of(cluster, namespace)["heldSince"])
    assert routed(gateway, namespace) == {old: 100}
    # And once more, turned back this time.
    nodes.held.add(namespace)
    patch(cluster, namespace, abort=None)
    wait_for(lambda: count(cluster, namespace)[old] == 0)
    end(cluster, namespace, old)
    wait_phase(cluster, namespace, "Starting", 0)
    cluster.replace(namespace, predictor(SWAP))
    nodes.release(namespace)
    wait_serving(cluster, namespace, old)
    wait_for(lambda: routed(gateway, namespace) == {old: 100})


def test_another_target_and_another_way_midway(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, namespace: str
) -> None:
    old, new = begin(cluster, namespace, predictor(SWAP), predictor(SWAP | {"paused": True}, cpu="2"))
    wait_phase(cluster, namespace, "Paused", 0)
    nodes.held.add(namespace)
    patch(cluster, namespace, paused=None)
    wait_for(lambda: count(cluster, namespace)[old] == 0)
    end(cluster, namespace, old)
    wait_phase(cluster, namespace, "Starting", 0)
    cluster.replace(namespace, predictor(cpu="3"))
    wait_for(lambda: new not in count(cluster, namespace))
    nodes.release(namespace)
    wait_for(lambda: len(cluster.deployments(namespace)) == 1 and old not in cluster.deployments(namespace))
    (third,) = cluster.deployments(namespace)
    wait_serving(cluster, namespace, third)
    assert routed(gateway, namespace) == {third: 100}


def wait_for_gpu(cluster: Cluster, namespace: str, workload: str) -> str:
    """A pod of it that finds no GPU; its path. Nobody runs it, and its finalizer keeps it until a test lets it go."""
    path = add_pod(cluster, namespace, workload, resources={"limits": {"nvidia.com/gpu": "1"}})
    message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: not helpful for scheduling."
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    status = {"phase": "Pending", "conditions": [said]}
    cluster.write("PATCH", f"{path}/status", {"status": status}, form="application/merge-patch+json")
    return path


def let_go(cluster: Cluster, path: str) -> None:
    cluster.write("PATCH", path, {"metadata": {"finalizers": None}}, form="application/merge-patch+json")
    cluster.client.delete(path, params={"gracePeriodSeconds": "0"})


def ask_for_gpu(cpu: str) -> Json:
    return TRITON | {"predictor": {"triton": {}, "resources": {"cpu": cpu, "gpu": {"count": 1}}}}


def wait_in_vain(cluster: Cluster, namespace: str, old: str) -> tuple[str, str]:
    """Another one comes, for which there is no GPU beside the old one: its Deployment, and the path of its pod."""
    cluster.replace(namespace, ask_for_gpu("2"))
    wait_for(lambda: len(cluster.deployments(namespace)) == 2)
    (new,) = cluster.deployments(namespace).keys() - {old}
    pod = wait_for_gpu(cluster, namespace, new)
    said = cluster.wait_reason(namespace, "WaitingForGPU")
    assert "`rollout: {recreate: {}}` ends the instances of the revision before first" in said["message"]
    return new, pod


def test_with_no_spare_gpu_nobody_deadlocks(
    cluster: Cluster, gateway: Gateway, operator: Operator, nodes: Nodes, namespace: str
) -> None:
    """Beside the old one it waits, and the old one answers. There is a way back, and in its place it starts."""
    cluster.create(namespace, ask_for_gpu("1"))
    cluster.wait_reason(namespace, "Ready")
    (old,) = cluster.deployments(namespace)
    nodes.held.add(namespace)
    new, pod = wait_in_vain(cluster, namespace, old)
    operator.wait_quiet()
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    assert cluster.condition(namespace, type_="Stalled")["status"] == "False"
    assert shares(cluster, namespace) == routed(gateway, namespace) == {old: 100}
    cluster.replace(namespace, ask_for_gpu("1"))
    wait_for(lambda: new not in cluster.deployments(namespace))
    let_go(cluster, pod)
    wait_serving(cluster, namespace, old)
    new, pod = wait_in_vain(cluster, namespace, old)
    # What waits is no reason to wait: it gets the room that is free then.
    cluster.replace(namespace, ask_for_gpu("2") | {"rollout": SWAP})
    wait_phase(cluster, namespace, "Ending", 0)
    wait_for(lambda: count(cluster, namespace)[old] == 0)
    end(cluster, namespace, old)
    wait_phase(cluster, namespace, "Starting", 0)
    let_go(cluster, pod)
    nodes.release(namespace)
    wait_serving(cluster, namespace, new)
    wait_for(lambda: routed(gateway, namespace) == {new: 100})
