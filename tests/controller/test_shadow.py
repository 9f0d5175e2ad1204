"""A canary whose first step gives the new revision copies of requests: a wrong one never gets a client's."""

import contextlib
import sys
from collections.abc import Iterator

import httpx
import pytest

from forebay.local.ports import HOST, find_free_ports
from tests import loopback
from tests.controller.gateways import Gateway
from tests.controller.site import Cluster, Json, Nodes, Operator, wait_for
from tests.controller.test_analysis import Clients, begin, wait_verdict
from tests.controller.test_canary import patch, rollout_of, routed, shares, told, wait_done, wait_phase
from tests.gateway.site import running

pytestmark = pytest.mark.usefixtures("operator")
ANALYSIS: Json = {"interval": "1s", "minRequests": 20, "latency": []}
STEPS: Json = {"steps": [{"shadow": 100, "pause": "1s"}, {"weight": 50, "pause": "1s"}]}
SHADOWED: Json = {"canary": {**STEPS, "analysis": ANALYSIS}}
BY_HAND: Json = {"canary": {"steps": [{"shadow": 50}]}}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, int]]:
    """Ports of servers: of the old revision, and of a new one that answers as it does, and one that answers wrongly."""
    kinds = ("old", "right", "wrong")
    ports = dict(zip(kinds, find_free_ports(len(kinds)), strict=True))
    with contextlib.ExitStack() as stack:
        for kind, port in ports.items():
            argv = ["-m", "tests.gateway.odd", str(port), str(find_free_ports(1)[0])]
            stack.enter_context(running([sys.executable, *argv]))
            wait_for(lambda port=port: is_there(port))
            behaviour = "wrong" if kind == "wrong" else "same"
            assert loopback.post(f"http://{HOST}:{port}/behave", content=behaviour).is_success
        yield ports


@pytest.fixture
def clients(gateway: Gateway, namespace: str) -> Clients:
    """Who isn't there yet."""
    return Clients(gateway, namespace)


def is_there(port: int) -> bool:
    with contextlib.suppress(OSError, httpx.HTTPError):
        return bool(loopback.get(f"http://{HOST}:{port}/seen").is_success)
    return False


def test_a_wrong_one_is_taken_back_before_any_client_gets_its_answers(
    cluster: Cluster, clients: Clients, operator: Operator, nodes: Nodes, servers: dict[str, int]
) -> None:
    gateway, namespace = clients.gateway, clients.namespace
    with clients:
        old, new = begin(cluster, nodes, namespace, (servers["old"], servers["wrong"]), rollout=SHADOWED)
        wait_phase(cluster, namespace, "Failed", 1)
        wait_for(lambda: cluster.deployments(namespace)[new]["spec"]["replicas"] == 0)
        failed, revision = rollout_of(cluster, namespace), cluster.status(namespace)["targetRevision"]
        assert "answers to copies differ (100 %): fewer than the 99 % of agreement.min agree" in failed["message"]
        assert (failed["weightPct"], failed["shadowPct"]) == (0, 0)
        assert routed(gateway, namespace) == shares(cluster, namespace) == {old: 100}
        assert not [who for who, _ in clients.seen if who == revision]
        wait_for(lambda: "shadow" not in gateway.site.routes()[f"{namespace}/digits"])
        operator.wait_quiet()
        writes = operator.count_writes()
        cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
        operator.wait_quiet()
        assert operator.count_writes() == writes


def test_a_good_one_goes_on(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    with Clients(gateway, namespace) as clients:
        _, new = begin(cluster, nodes, namespace, (servers["old"], servers["right"]), rollout=SHADOWED)
        wait_done(cluster, namespace, new)
        revision = cluster.status(namespace)["activeRevision"]
        wait_for(lambda: clients.seen[revision, 200])
        assert {status for who, status in clients.seen if who == revision} == {200}
    (first, second) = [each["message"] for each in cluster.events(namespace) if each["reason"] == "RolloutStep"]
    assert "gets copies of 100 % of the requests" in first
    assert "gets 50 % of the requests" in second
    assert "AnalysisFailed" not in told(cluster, namespace)


def test_without_requests_it_waits_and_is_promoted_by_hand(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    ports = (servers["old"], servers["right"])
    old, new = begin(cluster, nodes, namespace, ports, rollout=SHADOWED)
    found = wait_verdict(cluster, namespace, "Inconclusive")
    assert found["message"] in {"no requests are counted yet", "0 of 20 copies compared so far"}
    wait_phase(cluster, namespace, "Analyzing", 1)
    assert shares(cluster, namespace) == routed(gateway, namespace) == {old: 100}
    assert "100 % of the requests are copied to it" in cluster.condition(namespace)["message"]
    assert gateway.site.routes()[f"{namespace}/digits"]["shadow"]["workloads"] == [new]
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"]})
    wait_done(cluster, namespace, new)


def test_a_step_that_nobody_judges_waits_for_a_person(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    old, new = begin(cluster, nodes, namespace, (servers["old"], servers["wrong"]), rollout=BY_HAND)
    found = wait_phase(cluster, namespace, "Waiting", 1)
    assert (found["weightPct"], found["shadowPct"]) == (0, 50)
    assert routed(gateway, namespace) == {old: 100}
    patch(cluster, namespace, promote={"revision": found["revision"], "step": 1})
    wait_done(cluster, namespace, new)
