"""Asleep: what nobody has needed for a while has no instance, and is as ready as before."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from forebay.kube.resources import DEPLOYMENT
from tests.controller.conftest import SYSTEM, build_gateway_address
from tests.controller.gateways import Gateway
from tests.controller.site import SCRIPT, TRITON, Cluster, History, Json, Nodes, Operator, wait_for

pytestmark = pytest.mark.usefixtures("operator")
SLEEPS: Json = {"min": 0, "max": 4, "idle": "5s", "coldStart": {"timeout": "1h"}}
SLEEPY: Json = TRITON | {"predictor": {"triton": {}, "autoscaling": SLEEPS}}
TRANSFORMER: Json = {"custom": {"script": SCRIPT}}
WITH_TRANSFORMER: Json = SLEEPY | {"transformer": {**TRANSFORMER, "replicas": 3}}
LONG_AGO: Json = {"idleS": 3600.0, "held": 0}
BUSY: Json = {"idleS": 0.0, "held": 0}


class Idle:
    """What the gateway tells of the test's ModelDeployment."""

    def __init__(self, gateway: Gateway, route: str) -> None:
        self._gateway, self.route = gateway, route

    def begin(self) -> None:
        """Nobody has asked for it in a long time."""
        assert self._gateway.idle is not None
        self._gateway.idle[self.route] = LONG_AGO

    def end(self) -> None:
        """Somebody does."""
        assert self._gateway.idle is not None
        self._gateway.idle[self.route] = BUSY


@pytest.fixture
def idle(gateway: Gateway, namespace: str) -> Iterator[Idle]:
    made = Idle(gateway, f"{namespace}/digits")
    made.end()
    yield made
    assert gateway.idle is not None
    del gateway.idle[made.route]


def numbers(cluster: Cluster, namespace: str) -> dict[str, int]:
    """Instances that are wanted, by component."""
    found = cluster.deployments(namespace).values()
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["replicas"] for each in found}


def wait_numbers(cluster: Cluster, namespace: str, **wanted: int) -> None:
    wait_for(lambda: numbers(cluster, namespace) == wanted, why=lambda: (numbers(cluster, namespace), wanted))


def wait_asleep(cluster: Cluster, namespace: str) -> Json:
    found = cluster.wait_reason(namespace, "Asleep")
    wait_for(lambda: cluster.status(namespace)["instances"].endswith("0/0"))
    assert set(numbers(cluster, namespace).values()) == {0}
    return found


def wake(cluster: Cluster, namespace: str, component: str = "predictor") -> None:
    """As the gateway does it."""
    (name,) = (name for name in cluster.deployments(namespace) if f"-{component}-" in name)
    path = DEPLOYMENT.path(namespace=namespace, name=name, subresource="scale")
    version = cluster.deployments(namespace)[name]["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": version}, "spec": {"replicas": 1}}
    cluster.write("PATCH", path, body, form="application/merge-patch+json", fieldManager="forebay-gateway")


def list_events(cluster: Cluster, namespace: str) -> list[tuple[str, str, str]]:
    return [(each["type"], each["reason"], each["message"]) for each in cluster.events(namespace)]


def test_it_falls_asleep_and_is_woken_as_a_whole(
    cluster: Cluster, operator: Operator, namespace: str, idle: Idle
) -> None:
    cluster.create(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    wait_numbers(cluster, namespace, predictor=1, transformer=3)
    before = cluster.status(namespace)
    assert cluster.condition(namespace, type_="Asleep")["status"] == "False"
    idle.begin()
    said = wait_asleep(cluster, namespace)
    assert (said["status"], said["message"]) == ("True", "asleep since no request came for 5s: the next one wakes it")
    status = cluster.status(namespace)
    assert status["traffic"] == before["traffic"]
    assert (status["instances"], status["activeRevision"]) == ("0/0", before["activeRevision"])
    conditions = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
    assert conditions == {
        "Ready": ("True", "Asleep"), "Available": ("True", "Asleep"), "Progressing": ("False", "Asleep"),
        "Stalled": ("False", "Asleep"), "PredictorReady": ("False", "Asleep"), "TransformerReady": ("False", "Asleep"),
        "Asleep": ("True", "Asleep"), "Autoscaling": ("True", "Asleep"),
    }  # fmt: skip
    assert {each["model"]["state"] for each in status["components"]} == {"Asleep"}
    operator.wait_quiet()
    writes = operator.count_writes()
    operator.wait_quiet()
    assert operator.count_writes() == writes
    idle.end()
    wake(cluster, namespace)
    wait_numbers(cluster, namespace, predictor=1, transformer=3)
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet(for_s=4)
    told = [each for each in list_events(cluster, namespace) if each[1] != "TrafficSwitched"]
    assert [each[:2] for each in told] == [("Normal", "Ready"), ("Normal", "Asleep"), ("Normal", "Woken")], told
    assert told[-1][2].startswith("woken by a request after ")


def fall_asleep(cluster: Cluster, namespace: str, idle: Idle, spec: Json) -> None:
    cluster.create(namespace, spec)
    cluster.wait_reason(namespace, "Ready")
    idle.begin()
    wait_asleep(cluster, namespace)
    idle.end()


def test_an_operator_that_begins_changes_nothing_and_none_is_needed_to_wake(
    cluster: Cluster, operator: Operator, namespace: str, idle: Idle
) -> None:
    fall_asleep(cluster, namespace, idle, WITH_TRANSFORMER)
    before = cluster.status(namespace)
    operator.stop()
    operator.start()
    operator.wait_leading().wait_quiet()
    assert operator.count_writes() == 0
    assert cluster.status(namespace) == before
    operator.stop()
    for component in ("predictor", "transformer"):
        wake(cluster, namespace, component)
    operator.start()
    operator.wait_leading()
    # Whoever woke it knew of one instance each.
    wait_numbers(cluster, namespace, predictor=1, transformer=3)
    cluster.wait_reason(namespace, "Ready")
    assert "Woken" in [reason for _, reason, _ in list_events(cluster, namespace)]


def test_an_autoscaled_one_comes_back_with_its_min_and_its_autoscaler_stays(
    cluster: Cluster, operator: Operator, namespace: str, idle: Idle
) -> None:
    scaled = {**TRANSFORMER, "autoscaling": {"min": 2, "max": 8, "target": {"cpu": 70}}}
    history = History(cluster, namespace, "HorizontalPodAutoscaler")
    fall_asleep(cluster, namespace, idle, SLEEPY | {"transformer": scaled})
    wake(cluster, namespace, "transformer")
    wait_numbers(cluster, namespace, predictor=1, transformer=2)
    cluster.wait_reason(namespace, "Ready")
    assert {each["kind"] for _, each in history.seen} == {"HorizontalPodAutoscaler"}
    assert {each["spec"]["minReplicas"] for _, each in history.seen} == {1, 2}
    assert {what for what, _ in history.seen} == {"ADDED"}, "made once, and left alone"


def test_who_waits_for_ready_sees_nothing_of_a_start_that_goes_well(
    cluster: Cluster, nodes: Nodes, namespace: str, idle: Idle
) -> None:
    fall_asleep(cluster, namespace, idle, SLEEPY)
    history = History(cluster, namespace, "ModelDeployment")
    nodes.held.add(namespace)
    wake(cluster, namespace)
    said = cluster.wait_reason(namespace, "Waking")
    assert said["message"].startswith("woken, and requests wait for it: predictor: ")
    # The gateway may yet have to tell that its last instance is gone.
    wait_for(lambda: cluster.condition(namespace, type_="Available")["reason"] == "Waking")
    assert cluster.condition(namespace, type_="Progressing")["status"] == "True"
    nodes.release(namespace)
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: history.conditions("Ready")[-1]["reason"] == "Ready")
    for type_ in ("Ready", "Available"):
        assert {each["status"] for each in history.conditions(type_)} == {"True"}, type_


def test_a_start_that_takes_longer_than_requests_wait_is_told(
    cluster: Cluster, nodes: Nodes, namespace: str, idle: Idle
) -> None:
    impatient = {**SLEEPS, "coldStart": {"timeout": "1s"}}
    fall_asleep(cluster, namespace, idle, TRITON | {"predictor": {"triton": {}, "autoscaling": impatient}})
    nodes.held.add(namespace)
    wake(cluster, namespace)
    cluster.wait_reason(namespace, "Starting")
    assert cluster.condition(namespace)["status"] == "False"
    assert cluster.condition(namespace, type_="Available")["status"] == "False"
    # It stays awake, for somebody to look at it, however long nobody needs it.
    idle.begin()
    nodes.release(namespace)
    cluster.wait_reason(namespace, "Ready")
    wait_asleep(cluster, namespace)


def test_a_new_revision_starts_takes_over_and_sleeps(
    cluster: Cluster, operator: Operator, namespace: str, idle: Idle
) -> None:
    fall_asleep(cluster, namespace, idle, SLEEPY)
    (old,) = cluster.deployments(namespace)
    history = History(cluster, namespace)
    idle.begin()
    cluster.replace(namespace, SLEEPY | {"predictor": {**SLEEPY["predictor"], "resources": {"cpu": "2"}}})
    wait_for(lambda: old not in cluster.deployments(namespace))
    wait_asleep(cluster, namespace)
    (new,) = cluster.deployments(namespace)
    assert (history.numbers(old), history.numbers(new)) == ([0], [1, 0])


def test_one_that_cannot_start_leaves_the_one_that_sleeps(
    cluster: Cluster, nodes: Nodes, operator: Operator, namespace: str, idle: Idle
) -> None:
    fall_asleep(cluster, namespace, idle, SLEEPY)
    before = cluster.status(namespace)
    nodes.held.add(namespace)
    cluster.replace(namespace, SLEEPY | {"predictor": {**SLEEPY["predictor"], "resources": {"cpu": "2"}}})
    said = cluster.wait_reason(namespace, "Starting")
    assert f"{before['activeRevision']} is asleep, and the next request wakes it; " in said["message"]
    assert cluster.status(namespace)["traffic"] == before["traffic"]
    assert cluster.condition(namespace, type_="Available")["reason"] == "Asleep"
    operator.wait_quiet()
    (old,) = (name for name, each in cluster.deployments(namespace).items() if each["spec"]["replicas"] == 0)
    cluster.patch(namespace, "Deployment", old, {"spec": {"replicas": 1}})
    wait_for(lambda: cluster.condition(namespace, type_="Asleep")["status"] == "False")
    # The gateway may yet have to tell that its last instance is gone.
    wait_for(lambda: cluster.condition(namespace, type_="Available")["reason"] == "Waking")
    # While another is on its way nobody goes to sleep.
    idle.begin()
    operator.wait_quiet()
    assert cluster.deployments(namespace)[old]["spec"]["replicas"] == 1
    nodes.release(namespace)
    wait_for(lambda: old not in cluster.deployments(namespace))
    wait_asleep(cluster, namespace)


def test_what_both_revisions_share_wakes_with_the_new_one(cluster: Cluster, namespace: str, idle: Idle) -> None:
    fall_asleep(cluster, namespace, idle, WITH_TRANSFORMER)
    names = cluster.deployments(namespace)
    (predictor,) = (name for name in names if "-predictor-" in name)
    changed = {**WITH_TRANSFORMER["transformer"], "custom": {"script": SCRIPT + "# another\n"}}
    cluster.replace(namespace, WITH_TRANSFORMER | {"transformer": changed})
    wait_for(lambda: names.keys() - cluster.deployments(namespace).keys())
    cluster.wait_reason(namespace, "Ready")
    assert predictor in cluster.deployments(namespace)
    wait_numbers(cluster, namespace, predictor=1, transformer=3)


def test_what_may_sleep_no_more_wakes(cluster: Cluster, operator: Operator, namespace: str, idle: Idle) -> None:
    fall_asleep(cluster, namespace, idle, WITH_TRANSFORMER)
    awake = {"predictor": {"triton": {}, "autoscaling": {"min": 1, "max": 4}}}
    cluster.replace(namespace, WITH_TRANSFORMER | awake)
    cluster.wait_reason(namespace, "Ready")
    wait_numbers(cluster, namespace, predictor=1, transformer=3)
    assert not cluster.condition(namespace, type_="Asleep")
    cluster.replace(namespace, WITH_TRANSFORMER)
    wait_for(lambda: cluster.condition(namespace, type_="Asleep"))
    operator.wait_quiet()
    wait_numbers(cluster, namespace, predictor=1, transformer=3)
    idle.begin()
    wait_asleep(cluster, namespace)


def test_suspended_while_asleep_and_started_again(
    cluster: Cluster, operator: Operator, namespace: str, idle: Idle
) -> None:
    fall_asleep(cluster, namespace, idle, WITH_TRANSFORMER)
    cluster.replace(namespace, WITH_TRANSFORMER | {"suspend": True})
    cluster.wait_reason(namespace, "Suspended")
    operator.wait_quiet()
    assert cluster.condition(namespace, type_="Asleep")["reason"] == "Suspended"
    assert set(numbers(cluster, namespace).values()) == {0}
    cluster.replace(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    wait_numbers(cluster, namespace, predictor=1, transformer=3)
    assert [reason for _, reason, _ in list_events(cluster, namespace)].count("Woken") == 0


def is_labelled(cluster: Cluster, namespace: str, team: str) -> bool:
    found = cluster.deployments(namespace).values()
    return all(each["metadata"]["labels"].get("team") == team for each in found)


def test_other_labels_wake_nobody(cluster: Cluster, operator: Operator, namespace: str, idle: Idle) -> None:
    fall_asleep(cluster, namespace, idle, WITH_TRANSFORMER)
    history = History(cluster, namespace)
    for team in ("vision", "text"):
        cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"labels": {"team": team}}})
        wait_for(partial(is_labelled, cluster, namespace, team))
    operator.wait_quiet()
    assert {each["spec"]["replicas"] for _, each in history.seen} == {0}
    assert cluster.condition(namespace)["reason"] == "Asleep"


def test_a_fixed_number_is_kept_while_it_is_awake(
    cluster: Cluster, operator: Operator, namespace: str, idle: Idle
) -> None:
    cluster.create(namespace, WITH_TRANSFORMER)
    cluster.wait_reason(namespace, "Ready")
    cluster.replace(namespace, WITH_TRANSFORMER | {"transformer": {**TRANSFORMER, "replicas": 2}})
    wait_numbers(cluster, namespace, predictor=1, transformer=2)
    (name,) = (name for name in cluster.deployments(namespace) if "-transformer-" in name)
    cluster.patch(namespace, "Deployment", name, {"spec": {"replicas": 4}})
    wait_numbers(cluster, namespace, predictor=1, transformer=2)
    operator.wait_quiet()
    wait_numbers(cluster, namespace, predictor=1, transformer=2)


def test_idle_is_judged_over_all_gateways(cluster: Cluster, namespace: str, idle: Idle, tmp_path: Path) -> None:
    cluster.create(namespace, SLEEPY)
    cluster.wait_reason(namespace, "Ready")
    idle.begin()
    other = Gateway(cluster, tmp_path, namespace=SYSTEM, name="gateway-7", address=build_gateway_address(7))

    def wait_asked() -> None:
        """Until it was asked, and had the time to do something about the answer before the last."""
        asked = other.times_asked
        wait_for(lambda: other.times_asked >= asked + 8)
        assert numbers(cluster, namespace) == {"predictor": 1}

    assert other.idle is not None
    other.idle[idle.route] = {"idleS": 1.0, "held": 0}
    with other:
        wait_asked()
        other.idle[idle.route] = {"idleS": 3600.0, "held": 1}
        wait_asked()
        other.idle[idle.route] = None
        wait_asked()
        other.idle = None
        wait_asked()
        other.idle = {idle.route: LONG_AGO}
        wait_asleep(cluster, namespace)
    cluster.wait_reason(namespace, "Asleep")
