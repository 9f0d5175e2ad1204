"""Releases that are bad in other ways than by failing or slow answers: none of them gets all requests, and what it cost
the clients is told. See test_analysis.py for those.
"""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from forebay.local.ports import find_free_ports
from tests.controller.gateways import Gateway
from tests.controller.site import Cluster, Json, Nodes, Operator, wait_for
from tests.controller.test_analysis import ANALYSIS, FAILING, JUDGED, Clients, lead, wait_verdict
from tests.controller.test_canary import mark, predictor, rollout_of, routed, shares, told, wait_done, wait_phase
from tests.gateway.site import find_own_address, running

pytestmark = pytest.mark.usefixtures("operator")
GREEDY = Path(__file__).parents[1] / "gateway/greedy.py"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, int]]:
    """Ports of servers: one answers well, one fails with a fifth of the requests, and one is soon out of memory."""
    commands = {"good": [FAILING, "0", "0"], "bad": [FAILING, "0.2", "0"], "greedy": [GREEDY, "512"]}
    ports = dict(zip(commands, find_free_ports(len(commands)), strict=True))
    with contextlib.ExitStack() as stack:
        for kind, (script, *options) in commands.items():
            stack.enter_context(running([sys.executable, str(script), str(ports[kind]), *options]))
        yield ports


@contextlib.contextmanager
def releasing(  # noqa: PLR0913, PLR0917  (fixtures)
    cluster: Cluster, gateway: Gateway, nodes: Nodes, namespace: str, ports: tuple[int, int], rollout: Json
) -> Iterator[tuple[Clients, str, str]]:
    """Clients of one that serves, and another that comes then: what they saw since, and the names of both Deployments.

    `nodes` hold the second one.
    """
    cluster.create(namespace, predictor(rollout))
    cluster.wait_reason(namespace, "Ready")
    (old,) = cluster.deployments(namespace)
    lead(cluster, namespace, old, ports[0])
    with Clients(gateway, namespace) as clients:
        wait_for(lambda: is_steady(clients))
        clients.seen.clear()
        nodes.held.add(namespace)
        cluster.replace(namespace, predictor(rollout, cpu="2"))
        wait_for(lambda: len(cluster.deployments(namespace)) == 2)
        (new,) = cluster.deployments(namespace).keys() - {old}
        lead(cluster, namespace, new, ports[1])
        yield clients, old, new


def is_steady(clients: Clients) -> bool:
    """Whether some requests are all answered well."""
    lost, known = count_lost(clients), clients.seen.total()
    wait_for(lambda: clients.seen.total() > known + 30)
    return count_lost(clients) == lost


def count_lost(clients: Clients) -> int:
    return sum(number for (_, status), number in dict(clients.seen).items() if status != 200)


def tell_cost(clients: Clients, what: str) -> int:
    """How many requests it cost."""
    lost = count_lost(clients)
    print(f"{what}: clients lost {lost} of {clients.seen.total()} requests")
    return lost


def check_taken_back(cluster: Cluster, gateway: Gateway, namespace: str, old: str) -> Json:
    """All requests go to the one before; what is told of the other."""
    found = wait_phase(cluster, namespace, "Failed", 1)
    wait_for(lambda: routed(gateway, namespace) == shares(cluster, namespace) == {old: 100})
    wait_for(lambda: cluster.condition(namespace, type_="Available")["status"] == "True")
    assert found["message"] in cluster.condition(namespace)["message"]
    assert cluster.condition(namespace, type_="Stalled")["status"] == "True"
    return found


def test_one_that_is_out_of_memory_under_load(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    ports = servers["good"], servers["greedy"]
    with releasing(cluster, gateway, nodes, namespace, ports, JUDGED) as (clients, old, _):
        nodes.release(namespace)
        found = check_taken_back(cluster, gateway, namespace, old)
        assert "requests failed (stable: 0 % of " in found["message"]
        wait_for(lambda: is_steady(clients))
        revision = cluster.status(namespace)["activeRevision"]
        assert not [status for each, status in clients.seen if each == revision and status != 200]
    assert tell_cost(clients, found["message"]) > 0


def test_one_that_goes_up_and_down(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    """There are never requests enough to judge it by."""
    rollout = {"canary": {"steps": [{"weight": 50}], "analysis": {**ANALYSIS, "minRequests": 1000000}}}
    ports = servers["good"], servers["good"]
    with releasing(cluster, gateway, nodes, namespace, ports, rollout) as (clients, old, new):
        for fall in (1, 2, 3):
            nodes.release(namespace)
            wait_phase(cluster, namespace, "Waiting", 1)
            wait_for(lambda: routed(gateway, namespace).get(new) == 50)
            nodes.held.add(namespace)
            mark(cluster, namespace, new, 0)
            wait_for(lambda fall=fall: rollout_of(cluster, namespace)["falls"] == fall)
            wait_for(lambda: routed(gateway, namespace) == {old: 100})
        nodes.release(namespace)
        found = check_taken_back(cluster, gateway, namespace, old)
    assert found["message"] == "its instances went down 3 times in this step"
    assert cluster.condition(namespace)["reason"] == "RolloutFailed"
    wait_for(lambda: told(cluster, namespace).count("RolloutFailed") == 1)
    assert told(cluster, namespace).count("RolloutHalted") == 2
    # Its real server was there all the time.
    assert tell_cost(clients, found["message"]) == 0


def test_one_that_is_never_ready(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    ports = servers["good"], servers["good"]
    with releasing(cluster, gateway, nodes, namespace, ports, JUDGED) as (clients, old, _):
        wait_phase(cluster, namespace, "Starting", 0)
        wait_for(lambda: clients.seen.total() > 200)
        assert routed(gateway, namespace) == shares(cluster, namespace) == {old: 100}
        assert cluster.condition(namespace, type_="Available")["status"] == "True"
        # And there is a way out.
        cluster.replace(namespace, predictor(JUDGED))
        nodes.release(namespace)
        wait_done(cluster, namespace, old)
        wait_for(lambda: is_steady(clients))
    assert tell_cost(clients, "never ready, and turned back") == 0


class Prometheus(BaseHTTPRequestHandler):
    """Whose queries have the values of its server."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.do_GET()

    def do_GET(self) -> None:
        values = self.server.values  # type: ignore[attr-defined]
        result = [{"metric": {}, "value": [1, each]} for each in values]
        self.send_response(200)
        self.end_headers()
        answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving_values(values: list[str]) -> Iterator[str]:
    """Its address."""
    with ThreadingHTTPServer(("0.0.0.0", 0), Prometheus) as server:
        server.values = values  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{find_own_address()}:{server.server_port}"
        server.shutdown()


def test_one_whose_metrics_are_absent_waits(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    values: list[str] = []
    missing = "Paused by missing metrics: drift: the query gives no single value"
    ports = servers["good"], servers["good"]
    with serving_values(values) as address:
        analysis = {**ANALYSIS, "prometheus": [{"name": "drift", "address": address, "query": "drift", "max": 1}]}
        rollout = {"canary": {"steps": [{"weight": 50, "pause": "1s"}], "analysis": analysis}}
        with releasing(cluster, gateway, nodes, namespace, ports, rollout) as (clients, old, new):
            nodes.release(namespace)
            wait_phase(cluster, namespace, "Analyzing", 1)
            wait_for(lambda: missing in rollout_of(cluster, namespace)["analysis"]["message"])
            known = clients.seen.total()
            # Its requests alone would have passed it by then.
            wait_for(lambda: clients.seen.total() > known + 500)
            assert wait_verdict(cluster, namespace, "Inconclusive")
            wait_for(lambda: missing in cluster.condition(namespace)["message"])
            assert shares(cluster, namespace) == {old: 50, new: 50}
            values.append("0.5")
            wait_done(cluster, namespace, new)
    assert tell_cost(clients, missing) == 0


def test_a_bad_one_is_taken_back_by_whoever_comes_after_an_operator_that_died(  # noqa: PLR0913, PLR0917  (fixtures)
    cluster: Cluster, gateway: Gateway, operator: Operator, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    """What was counted before is lost with it, and no harm: there are new requests."""
    rollout = {"canary": {"steps": [{"weight": 50}], "analysis": {**ANALYSIS, "minRequests": 1000000}}}
    ports = servers["good"], servers["good"]
    with releasing(cluster, gateway, nodes, namespace, ports, rollout) as (clients, old, new):
        nodes.release(namespace)
        wait_phase(cluster, namespace, "Waiting", 1)
        operator.kill()
        lead(cluster, namespace, new, servers["bad"])
        revision = cluster.status(namespace)["targetRevision"]
        wait_for(lambda: clients.seen[revision, 500] > 20)
        assert shares(cluster, namespace) == {old: 50, new: 50}
        operator.start()
        operator.wait_leading()
        found = check_taken_back(cluster, gateway, namespace, old)
    assert "requests failed (stable: 0 % of " in found["message"]
    assert tell_cost(clients, found["message"]) > 0
