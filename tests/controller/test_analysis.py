"""A canary that is judged by what a real Envoy counts of requests to real servers."""

import contextlib
import http.client
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from forebay.local.ports import HOST, find_free_ports
from tests.controller.gateways import Gateway
from tests.controller.site import Cluster, Json, Nodes, Operator, wait_for
from tests.controller.test_canary import patch, predictor, rollout_of, routed, shares, told, wait_done, wait_phase
from tests.controller.test_rollout_commands import Forebay
from tests.gateway.site import find_own_address, running

pytestmark = pytest.mark.usefixtures("operator")
FAILING = Path(__file__).parents[1] / "gateway/failing.py"
ANALYSIS: Json = {"interval": "1s", "minRequests": 20, "latency": [{"percentile": 50, "max": "10s"}]}
STEPS: Json = {"steps": [{"weight": 50, "pause": "1s"}]}
JUDGED: Json = {"canary": {**STEPS, "analysis": ANALYSIS}}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, int]]:
    """Ports of servers: one answers well, one fails with a fifth of the requests, one with 5 %, and one is slow."""
    kinds = {"good": ("0", "0"), "bad": ("0.2", "0"), "failing": ("0.05", "0"), "slow": ("0", "0.3")}
    ports = dict(zip(kinds, find_free_ports(len(kinds)), strict=True))
    with contextlib.ExitStack() as stack:
        for kind, options in kinds.items():
            stack.enter_context(running([sys.executable, str(FAILING), str(ports[kind]), *options]))
        yield ports


class Clients:
    """A client that asks for as long as it is needed, and what was answered by which revision."""

    def __init__(self, gateway: Gateway, namespace: str) -> None:
        self.gateway, self.namespace = gateway, namespace
        self.seen: Counter[tuple[str, int]] = Counter()
        self._port, self._path = gateway.site.data_port, f"/{namespace}/digits/v2"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        with contextlib.closing(http.client.HTTPConnection(HOST, self._port, timeout=30)) as connection:
            while not self._stopping.wait(0.005):
                connection.request("GET", self._path)
                answer = connection.getresponse()
                answer.read()
                self.seen[answer.headers.get("x-forebay-revision", ""), answer.status] += 1


@pytest.fixture
def clients(gateway: Gateway, namespace: str) -> Iterator[Clients]:
    with Clients(gateway, namespace) as clients:
        yield clients


def lead(cluster: Cluster, namespace: str, workload: str, port: int) -> None:
    """The instances of a workload are where this port is, whatever its Deployment's nodes say."""
    body = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": f"{workload}-a", "namespace": namespace,
            "labels": {
                **cluster.deployments(namespace)[workload]["metadata"]["labels"],
                "kubernetes.io/service-name": workload,
            },
        },
        "endpoints": [{"addresses": [find_own_address()], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }  # fmt: skip
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{workload}-a"
    cluster.client.patch(
        path, content=json.dumps(body), headers={"content-type": "application/apply-patch+yaml"},
        params={"fieldManager": "test", "force": "true"},
    ).raise_for_status()  # fmt: skip


def begin(
    cluster: Cluster, nodes: Nodes, namespace: str, ports: tuple[int, int], *, rollout: Json = JUDGED
) -> tuple[str, str]:
    """Serve one, and ask for another, whose requests go to these ports: the names of both Deployments."""
    cluster.create(namespace, predictor(rollout))
    cluster.wait_reason(namespace, "Ready")
    (old,) = cluster.deployments(namespace)
    lead(cluster, namespace, old, ports[0])
    # Before it has its share.
    nodes.held.add(namespace)
    cluster.replace(namespace, predictor(rollout, cpu="2"))
    wait_for(lambda: len(cluster.deployments(namespace)) == 2)
    (new,) = cluster.deployments(namespace).keys() - {old}
    lead(cluster, namespace, new, ports[1])
    nodes.release(namespace)
    return old, new


def wait_verdict(cluster: Cluster, namespace: str, verdict: str) -> Json:
    def look() -> Json:
        found: Json = rollout_of(cluster, namespace).get("analysis", {})
        return found if found.get("verdict") == verdict else {}

    found: Json = wait_for(look, why=lambda: f"{verdict}: {cluster.status(namespace)}")
    return found


def test_a_bad_one_is_taken_back_tried_again_and_wanted_all_the_same(  # noqa: PLR0913, PLR0917  (fixtures)
    cluster: Cluster,
    gateway: Gateway,
    operator: Operator,
    nodes: Nodes,
    servers: dict[str, int],
    namespace: str,
    forebay: Forebay,
) -> None:
    with Clients(gateway, namespace) as clients:
        old, new = begin(cluster, nodes, namespace, (servers["good"], servers["bad"]))
        wait_phase(cluster, namespace, "Failed", 1)
        wait_for(lambda: cluster.deployments(namespace)[new]["spec"]["replicas"] == 0)
        assert routed(gateway, namespace) == shares(cluster, namespace) == {old: 100}
        operator.wait_quiet()
        failed = rollout_of(cluster, namespace)
        revision = cluster.status(namespace)["targetRevision"]
        assert cluster.deployments(namespace)[old]["spec"]["replicas"], "it was kept warm"
        assert failed["message"].endswith("more than chance explains")
        assert "requests failed (stable: 0 % of " in failed["message"]
        assert failed["analysis"]["verdict"] == "Failed"
        assert (failed["attempt"], failed["weightPct"]) == (1, 0)
        assert clients.seen[revision, 500]
        for type_, status in (("Ready", "False"), ("Progressing", "False"), ("Stalled", "True")):
            said = cluster.condition(namespace, type_=type_)
            assert (said["status"], said["reason"]) == (status, "AnalysisFailed")
        assert failed["message"] in cluster.condition(namespace)["message"]
        assert cluster.condition(namespace, type_="Available")["status"] == "True"
        (event,) = [each for each in cluster.events(namespace) if each["reason"] == "AnalysisFailed"]
        assert event["type"] == "Warning"
        assert failed["message"] in event["message"]
        assert operator.metrics()[f"forebay_rollout_analysis digits {namespace} Failed"] == 1
        # It stays so, whoever looks.
        writes = operator.count_writes()
        cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
        operator.wait_quiet()
        assert operator.count_writes() == writes
        operator.kill()
        operator.start()
        operator.wait_leading()
        operator.wait_quiet()
        assert rollout_of(cluster, namespace) == failed
        assert f"Failed: {failed['message']}" in " ".join(forebay("rollout", "digits").stdout.split())
        assert "`forebay retry digits` tries it again" in forebay("promote", "digits").stderr
        assert "is tried again: attempt 2" in forebay("retry", "digits").stdout
        wait_for(lambda: rollout_of(cluster, namespace)["attempt"] == 2)
        assert wait_phase(cluster, namespace, "Failed", 1)["attempt"] == 2
        assert "to its end" in forebay("promote", "digits", "--full").stdout
        assert "no revision of digits has failed" in forebay("retry", "digits").stderr
        wait_done(cluster, namespace, new)
    reasons = told(cluster, namespace)
    assert (reasons.count("AnalysisFailed"), reasons.count("RolloutRetried")) == (2, 2)


SAID = {"failing": "requests failed (stable: 0 % of", "slow": "times as long"}


@pytest.mark.parametrize("kind", SAID)
def test_what_a_bad_one_costs(
    cluster: Cluster, nodes: Nodes, servers: dict[str, int], clients: Clients, kind: str
) -> None:
    latency = {"latency": [{"percentile": 90, "maxRatio": 2}]}
    rollout = {"canary": {"steps": [{"weight": 20}], "analysis": {**ANALYSIS, **latency}}}
    begin(cluster, nodes, clients.namespace, (servers["good"], servers[kind]), rollout=rollout)
    failed = wait_phase(cluster, clients.namespace, "Failed", 1)
    assert SAID[kind] in failed["message"]
    revision = cluster.status(clients.namespace)["targetRevision"]
    lost = clients.seen[revision, 500]
    print(f"{failed['message']}; clients lost {lost} of {clients.seen[revision, 200] + lost} requests to it")


def test_a_good_one_passes(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    # A person is waited for in the second step, so that there is time to look.
    rollout = {"canary": {"steps": [*STEPS["steps"], {"weight": 60}], "analysis": ANALYSIS}}
    with Clients(gateway, namespace) as clients:
        _, new = begin(cluster, nodes, namespace, (servers["good"], servers["good"]), rollout=rollout)
        wait_phase(cluster, namespace, "Waiting", 2)
        found = wait_verdict(cluster, namespace, "Passed")
        assert found["requests"] >= 20
        assert found["message"].startswith("0 % of ")
        revision = cluster.status(namespace)["targetRevision"]
        patch(cluster, namespace, promote={"revision": revision, "step": 2})
        wait_done(cluster, namespace, new)
        assert {status for each, status in clients.seen if each == revision} == {200}
    assert "AnalysisFailed" not in told(cluster, namespace)


def test_without_requests_it_waits_and_without_counters_as_well(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    _, new = begin(cluster, nodes, namespace, (servers["good"], servers["bad"]))
    wait_phase(cluster, namespace, "Analyzing", 1)
    assert wait_verdict(cluster, namespace, "Inconclusive")["message"] == "0 of 20 requests so far"
    assert "when its analysis passes: 0 of 20 requests so far" in cluster.condition(namespace)["message"]
    gateway.tells_counts = False
    try:
        wait_for(lambda: "Paused by missing metrics" in rollout_of(cluster, namespace)["analysis"]["message"])
        with Clients(gateway, namespace) as clients:
            revision = cluster.status(namespace)["targetRevision"]
            wait_for(lambda: clients.seen[revision, 500] > 50)
            assert rollout_of(cluster, namespace)["phase"] == "Analyzing"
    finally:
        gateway.tells_counts = True
    # What was counted meanwhile is found.
    wait_phase(cluster, namespace, "Failed", 1)
    wait_for(lambda: cluster.deployments(namespace)[new]["spec"]["replicas"] == 0)


def test_a_service_that_is_asked_fails_it(
    cluster: Cluster, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    class Smoke(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()
            told = {"result": "failed", "message": f"{asked['name']} {asked['step']} is bad"}
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("0.0.0.0", 0), Smoke) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        smoke = {"name": "smoke", "url": f"http://{find_own_address()}:{server.server_port}/"}
        rollout = {"canary": {**STEPS, "analysis": {**ANALYSIS, "webhooks": [smoke]}}}
        begin(cluster, nodes, namespace, (servers["good"], servers["good"]), rollout=rollout)
        assert wait_phase(cluster, namespace, "Failed", 1)["message"] == "smoke says failed: digits 1 is bad"
        server.shutdown()


def test_what_a_drill_breaks_is_not_judged(
    cluster: Cluster, nodes: Nodes, clients: Clients, namespace: str, servers: dict[str, int]
) -> None:
    """The stable revision's answers would let any other pass."""
    old, _ = begin(
        cluster, nodes, namespace, (servers["good"], servers["bad"]), rollout=JUDGED | {"paused": True}
    )  # fmt: skip
    wait_phase(cluster, namespace, "Paused", 0)
    revision, now = cluster.status(namespace)["activeRevision"], datetime.now(UTC)
    since, until = (f"{now + timedelta(minutes=each):%Y-%m-%dT%H:%M:%SZ}" for each in (-1, 30))
    drill = {"fault": "PredictorDown", "revision": revision, "since": since, "until": until}
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"drill": drill, "rollout": {"paused": None}}})
    wait_phase(cluster, namespace, "Analyzing", 1)
    clients.seen.clear()
    wait_for(lambda: clients.seen.total() > 400)
    found = wait_phase(cluster, namespace, "Analyzing", 1)["analysis"]
    assert (found["verdict"], found["requests"]) == ("Inconclusive", 0)
    assert found["message"] == "spec.drill breaks one of both revisions: requests are counted anew when it is over"
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"drill": None}})
    wait_verdict(cluster, namespace, "Failed")
    wait_for(lambda: shares(cluster, namespace) == {old: 100})
