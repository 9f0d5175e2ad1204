"""Two revisions share the requests of one deployment, through a real gateway."""

import contextlib
import http.client
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from forebay.local.ports import HOST, find_free_ports
from tests.gateway.site import Cluster, GatewaySite, ready, running, wait_for

REQUESTS, THREADS = 10_000, 4
# The share that comes out deviates by 0.22 points then: one point is four and a half times that.
WEIGHT = 5
OLD, NEW = "aaaa1111", "bbbb2222"
TRAFFIC = [("split-1", OLD, 100 - WEIGHT), ("split-2", NEW, WEIGHT)]
SCRIPT = "class A:\n    def predict(self, inputs):\n        return inputs\n"


@pytest.fixture
def split(cluster: Cluster, site: GatewaySite, backends: dict[str, int], address: str) -> Iterator[str]:
    """A deployment with two revisions; its path."""
    for name, backend in (("split-1", "one"), ("split-2", "two")):
        cluster.put_slice(name, ready(address), port=backends[backend])
    cluster.put_deployment("split", traffic=TRAFFIC)
    wait_for(lambda: weights(site) == {"split-1": 95, "split-2": 5})
    yield "/default/split"
    cluster.drop_deployment("split")
    for name in ("split-1", "split-2"):
        cluster.drop_slice(f"{name}-a")


def weights(site: GatewaySite) -> dict[str, int]:
    found: dict[str, int] = site.routes()["default/split"]["weights"]
    return found


def is_within_a_point(seen: Counter[str]) -> bool:
    assert seen.total() == REQUESTS
    assert seen.keys() == {OLD, NEW}, "each answer tells its revision"
    return abs(100 * seen[NEW] / REQUESTS - WEIGHT) < 1


def test_the_split_of_http_is_as_it_is_told(site: GatewaySite, split: str) -> None:
    def ask(number: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        with contextlib.closing(http.client.HTTPConnection(HOST, site.data_port, timeout=30)) as connection:
            for _ in range(number):
                connection.request("GET", f"{split}/v2")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200
                seen[answer.headers["x-forebay-revision"]] += 1
        return seen

    with ThreadPoolExecutor(THREADS) as pool:
        assert is_within_a_point(sum(pool.map(ask, [REQUESTS // THREADS] * THREADS), Counter()))


def test_the_split_of_grpc_is_as_it_is_told(
    tmp_path_factory: pytest.TempPathFactory, cluster: Cluster, site: GatewaySite, split: str, address: str
) -> None:
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT)
    http_port, grpc_port = find_free_ports(2)
    argv = ["--script", str(script), "--name", "split", "--role", "predictor", "--host", "0.0.0.0"]
    argv += ["--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    headers = [("forebay-deployment", "default/split")]
    with (
        running([sys.executable, "-m", "forebay.serving", *argv]),
        grpc.insecure_channel(f"{HOST}:{site.data_port}") as channel,
    ):
        # One server is both: the gateway tells the revision.
        for name in ("split-1", "split-2"):
            cluster.put_slice(name, ready(address), port=grpc_port)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def is_live() -> bool:
            try:
                return bool(stub.ServerLive(service_pb2.ServerLiveRequest(), metadata=headers, timeout=5).live)
            except grpc.RpcError:
                return False

        def ask(number: int) -> Counter[str]:
            seen: Counter[str] = Counter()
            for _ in range(number):
                _, call = stub.ServerLive.with_call(service_pb2.ServerLiveRequest(), metadata=headers, timeout=30)
                seen[dict(call.initial_metadata())["x-forebay-revision"]] += 1
            return seen

        wait_for(lambda: all(is_live() for _ in range(50)), every_s=0.2)
        with ThreadPoolExecutor(THREADS) as pool:
            assert is_within_a_point(sum(pool.map(ask, [REQUESTS // THREADS] * THREADS), Counter()))


def test_one_without_instances_has_no_share(
    site: GatewaySite, cluster: Cluster, split: str, backends: dict[str, int], address: str
) -> None:
    for name, other in (("split-2", "split-1"), ("split-1", "split-2")):
        cluster.drop_slice(f"{name}-a")
        wait_for(lambda other=other: weights(site) == {other: 100})
        assert all(site.ask(f"{split}/v2").is_success for _ in range(100))
        cluster.put_slice(name, ready(address), port=backends["one"])
        wait_for(lambda: weights(site) == {"split-1": 95, "split-2": 5})
    # Nor has it before its first is known.
    cluster.put_deployment("split", traffic=[("split-1", OLD, 50), ("split-3", "cccc3333", 50)])
    wait_for(lambda: weights(site) == {"split-1": 100})
    assert all(site.ask(f"{split}/v2").is_success for _ in range(100))
    cluster.put_slice("split-3", ready(address), port=backends["two"])
    wait_for(lambda: weights(site) == {"split-1": 50, "split-3": 50})
    cluster.drop_slice("split-3-a")


def test_a_rate_limit_is_of_both_together(site: GatewaySite, cluster: Cluster, split: str) -> None:
    limit = {"rateLimit": {"requests": 20, "per": "1h"}}
    generation = cluster.put_deployment("split", traffic=[("split-1", OLD, 50), ("split-2", NEW, 50)], access=limit)
    wait_for(lambda: site.routes()["default/split"]["generation"] == generation)
    wait_for(lambda: weights(site) == {"split-1": 50, "split-2": 50})
    seen = Counter(site.ask(f"{split}/v2").status_code for _ in range(60))
    assert seen == {200: 20, 429: 40}
