"""Another spec becomes another revision beside the old one, and takes over when it is whole."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from forebay.local.ports import HOST
from tests.controller.conftest import SYSTEM, build_gateway_address
from tests.controller.gateways import Gateway
from tests.controller.relay import Relay
from tests.controller.site import SCALED, TRITON, WITH_TRANSFORMER, Cluster, History, Json, Nodes, Operator, wait_for
from tests.controller.test_recreate import add_pod, end_pod

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def history(cluster: Cluster, namespace: str) -> Iterator[History]:
    made = History(cluster, namespace)
    yield made
    made.close()


def predictor(**fields: object) -> Json:
    return TRITON | {"predictor": {"triton": {}, **fields}}


OTHER = predictor(resources={"cpu": "2"})


def workload(cluster: Cluster, namespace: str, component: str = "predictor") -> str:
    found = next(each for each in cluster.status(namespace)["components"] if each["name"] == component)
    return str(found["workload"])


def routed(gateway: Gateway, namespace: str) -> set[str]:
    return set(gateway.site.routes().get(f"{namespace}/digits", {}).get("workloads", {}))


def test_a_predictor_ends_after_the_transformers_that_ask_it(
    cluster: Cluster, operator: Operator, namespace: str
) -> None:
    cluster.create(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    predicts, transforms = (workload(cluster, namespace, each) for each in ("predictor", "transformer"))
    pod = add_pod(cluster, namespace, transforms)
    changed = {**WITH_TRANSFORMER["transformer"], "resources": {"cpu": "2"}}
    cluster.replace(namespace, OTHER | {"transformer": changed})
    wait_for(lambda: transforms not in cluster.deployments(namespace))
    operator.wait_quiet()
    assert predicts in cluster.deployments(namespace)
    assert cluster.condition(namespace)["reason"] == "Ready"
    end_pod(cluster, pod)
    wait_for(lambda: predicts not in cluster.deployments(namespace))


def test_old_one_serves_until_the_new_one_does(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, namespace: str
) -> None:
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    old = workload(cluster, namespace)
    assert routed(gateway, namespace) == {old}
    nodes.held.add(namespace)
    cluster.replace(namespace, OTHER)
    wait_for(lambda: len(cluster.deployments(namespace)) == 2)
    new = next(name for name in cluster.deployments(namespace) if name != old)
    said = wait_for(lambda: "still serving" in (ready := cluster.condition(namespace))["message"] and ready)
    assert said["status"] == "False"
    status = cluster.status(namespace)
    assert [each["workload"] for each in status["traffic"]] == [old]
    assert cluster.condition(namespace, type_="Available")["status"] == "True"
    assert workload(cluster, namespace) == new
    nodes.release(namespace)
    while True:  # whoever is routed to is there
        there = set(cluster.deployments(namespace))
        assert routed(gateway, namespace) <= there
        assert cluster.condition(namespace, type_="Available")["status"] == "True"
        if there == {new}:
            break
    cluster.wait_reason(namespace, "Ready")
    assert routed(gateway, namespace) == {new}
    assert cluster.status(namespace)["activeRevision"] == cluster.status(namespace)["targetRevision"]
    warnings = [each["message"] for each in cluster.events(namespace) if each["type"] == "Warning"]
    assert warnings == []


def test_it_is_available_while_a_gateway_has_not_heard_of_the_new_one(
    cluster: Cluster, gateway: Gateway, namespace: str, tmp_path: Path
) -> None:
    apiserver = int(cluster.plane.url.rpartition(":")[2])
    address = build_gateway_address(1)
    with (
        Relay((HOST, 0), lambda: (HOST, apiserver)) as relay,
        Gateway(
            cluster, tmp_path, namespace=SYSTEM, name="gateway-1", address=address,
            KUBERNETES_SERVICE_PORT=str(relay.port),
        ) as other,
        closing(History(cluster, namespace, "ModelDeployment")) as history,
    ):  # fmt: skip
        cluster.create(namespace, TRITON)
        cluster.wait_reason(namespace, "Ready")
        (old,) = routed(gateway, namespace)
        wait_for(lambda: routed(other, namespace) == {old})
        served = len(history.conditions("Available"))
        relay.hold()
        cluster.replace(namespace, OTHER)
        wait_for(lambda: routed(gateway, namespace) not in (set(), {old}))
        assert routed(other, namespace) == {old}
        # Both were asked since.
        wait_for(lambda: "takes over the new" in cluster.condition(namespace)["message"])
        assert old in cluster.deployments(namespace)
        assert cluster.condition(namespace, type_="Available")["status"] == "True"
        relay.release()
        cluster.wait_reason(namespace, "Ready")
        assert {each["status"] for each in history.conditions("Available")[served:]} == {"True"}


@pytest.mark.parametrize("when", ["silent", "unready"])
def test_old_one_stays_while_a_gateway_may_route_to_it(
    cluster: Cluster, gateway: Gateway, namespace: str, when: str
) -> None:
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    old = workload(cluster, namespace)
    pilot = gateway.site.pilot
    assert pilot is not None
    pilot.send_signal(signal.SIGSTOP)
    try:
        if when == "unready":  # its Envoy serves on, and the pilot crashes
            gateway.tell(ready=False)
        cluster.replace(namespace, OTHER)
        wait_for(lambda: (found := cluster.status(namespace))["activeRevision"] == found["targetRevision"])
        time.sleep(4)
        assert old in cluster.deployments(namespace)
        cluster.wait_reason(namespace, "GatewayNotReady")
    finally:
        pilot.send_signal(signal.SIGCONT)
        gateway.tell(ready=True)
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: set(cluster.deployments(namespace)) == {workload(cluster, namespace)})


def test_change_back_midway(cluster: Cluster, gateway: Gateway, nodes: Nodes, namespace: str) -> None:
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    before = cluster.deployments(namespace)
    nodes.held.add(namespace)
    cluster.replace(namespace, OTHER)
    wait_for(lambda: len(cluster.deployments(namespace)) == 2)
    cluster.replace(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: len(cluster.deployments(namespace)) == 1)
    after = cluster.deployments(namespace)
    assert {name: each["metadata"]["uid"] for name, each in after.items()} == {
        name: each["metadata"]["uid"] for name, each in before.items()
    }
    assert all(each["metadata"]["generation"] == 1 for each in after.values())
    assert routed(gateway, namespace) == set(after)
    nodes.release(namespace)


def test_transformer_changes_comes_and_goes_beside_the_same_predictor(
    cluster: Cluster, operator: Operator, gateway: Gateway, namespace: str
) -> None:
    cluster.create(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    same, first = workload(cluster, namespace), workload(cluster, namespace, "transformer")
    uid = cluster.deployments(namespace)[same]["metadata"]["uid"]
    script = "class Transformer:\n    def postprocess(self, outputs):\n        return outputs\n"
    cluster.replace(namespace, TRITON | {"transformer": {"custom": {"script": script}}})
    cluster.wait_reason(namespace, "Ready")
    second = workload(cluster, namespace, "transformer")
    assert second != first
    wait_for(lambda: set(cluster.deployments(namespace)) == {same, second})
    scripts = [name for name in cluster.list_children(namespace) if "-script-" in name]
    assert len(scripts) == 1
    cluster.replace(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    assert not [name for name in cluster.list_children(namespace) if "transformer" in name]
    assert routed(gateway, namespace) == {same}
    assert not cluster.condition(namespace, type_="TransformerReady")
    cluster.replace(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    assert routed(gateway, namespace) == {first}
    assert cluster.deployments(namespace)[same]["metadata"]["uid"] == uid
    assert cluster.deployments(namespace)[same]["metadata"]["generation"] == 1


def scale(cluster: Cluster, namespace: str, name: str, number: int) -> None:
    """As the HorizontalPodAutoscaler's controller does it."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"
    cluster.write(
        "PATCH", path, {"spec": {"replicas": number}}, form="application/merge-patch+json", fieldManager="hpa"
    )


def test_number_of_a_scaled_workload_is_its_autoscalers(
    cluster: Cluster, operator: Operator, namespace: str, history: History
) -> None:
    cluster.create(namespace, predictor(replicas=3))
    cluster.wait_reason(namespace, "Ready")
    name = workload(cluster, namespace)
    cluster.replace(namespace, predictor(**SCALED))
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: cluster.find(namespace, "HorizontalPodAutoscaler", name))
    assert history.numbers(name) == [3]
    scale(cluster, namespace, name, 5)
    cluster.patch(namespace, "Deployment", name, {"spec": {"revisionHistoryLimit": 7}})
    wait_for(lambda: cluster.find(namespace, "Deployment", name)["spec"]["revisionHistoryLimit"] == 0)
    more = {"autoscaling": SCALED["autoscaling"] | {"max": 9}}
    cluster.replace(namespace, predictor(**more))
    wait_for(lambda: cluster.find(namespace, "HorizontalPodAutoscaler", name)["spec"]["maxReplicas"] == 9)
    operator.wait_quiet()
    assert history.numbers(name) == [3, 5]
    # Another revision begins with as many as serve now.
    cluster.replace(namespace, predictor(**more, resources={"cpu": "2"}))
    cluster.wait_reason(namespace, "Ready")
    other = workload(cluster, namespace)
    assert other != name
    assert history.numbers(other) == [5]
    scale(cluster, namespace, other, 8)
    cluster.wait_reason(namespace, "Ready")
    # With no autoscaler any more, it is ours again.
    cluster.replace(namespace, predictor(replicas=4, resources={"cpu": "2"}))
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: not cluster.find(namespace, "HorizontalPodAutoscaler", other))
    operator.wait_quiet()
    assert history.numbers(other) == [5, 8, 4]


def test_kubectl_scale_changes_the_number_alone(
    cluster: Cluster, operator: Operator, namespace: str, history: History
) -> None:
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    cluster.plane.kubectl("scale", "md", "digits", "--replicas=3", "-n", namespace)
    cluster.wait_reason(namespace, "Ready")
    name = workload(cluster, namespace)
    assert history.numbers(name) == [1, 3]
    assert cluster.status(namespace)["instances"] == "3/3"
    assert set(cluster.deployments(namespace)) == {name}
