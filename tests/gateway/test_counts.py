"""GET /counts: what a real Envoy counted of two revisions is what their clients saw."""

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from forebay.local.ports import HOST, find_free_ports
from tests.gateway.site import Cluster, GatewaySite, Raw, ready, running, wait_for

FAILING = Path(__file__).parent / "failing.py"
OLD, NEW = "aaaa1111", "bbbb2222"
TRAFFIC = [("counted-1", OLD, 50), ("counted-2", NEW, 50)]
BY_REVISION = {"counted-1": OLD, "counted-2": NEW}
METHOD = "/inference.GRPCInferenceService/ServerLive"


@pytest.fixture(scope="module")
def counted(cluster: Cluster, site: GatewaySite, address: str) -> Iterator[str]:
    """A deployment whose new revision fails with every fourth request, and is slow; its path."""
    ports = find_free_ports(2)
    with (
        running([sys.executable, str(FAILING), str(ports[0]), "0", "0"]),
        running([sys.executable, str(FAILING), str(ports[1]), "0.25", "0.05"]),
    ):
        for name, port in zip(BY_REVISION, ports, strict=True):
            cluster.put_slice(name, ready(address), port=port)
        cluster.put_deployment("counted", traffic=TRAFFIC)
        wait_for(lambda: site.routes()["default/counted"]["weights"] == {"counted-1": 50, "counted-2": 50})
        wait_for(lambda: all(site.ask("/default/counted/v2").status_code in (200, 500) for _ in range(20)))
        yield "/default/counted"
        cluster.drop_deployment("counted")
        for name in BY_REVISION:
            cluster.drop_slice(f"{name}-a")


def read(site: GatewaySite, *names: str) -> Raw:
    found: Raw = site.get_pilot("/counts?" + "&".join(f"deployment={name}" for name in names)).json()
    return found


def is_merged(found: Raw) -> bool:
    """Whether Envoy has added up the times of all, which it does every few seconds."""
    return all(sum(each["timesMs"].values()) == each["requests"] for each in found.values())


def wait_counts(site: GatewaySite) -> Raw:
    def look() -> Raw:
        found: Raw = read(site, "default/counted")["counts"]["default/counted"]
        return found if found and is_merged(found) else {}

    found: Raw = wait_for(look, every_s=0.3)
    return found


def test_each_revision_has_what_its_clients_saw(site: GatewaySite, counted: str) -> None:
    before = wait_counts(site)
    seen: Counter[tuple[str, int]] = Counter()
    for _ in range(100):
        answer = site.ask(f"{counted}/v2")
        seen[answer.headers["x-forebay-revision"], answer.status_code] += 1
    after = wait_counts(site)
    for workload, revision in BY_REVISION.items():
        counts = {name: after[workload][name] - before[workload][name] for name in ("requests", "errors", "refusals")}
        assert counts == {
            "requests": seen[revision, 200] + seen[revision, 500], "errors": seen[revision, 500], "refusals": 0,
        }  # fmt: skip
    assert seen[NEW, 500]
    times, times_before = after["counted-2"]["timesMs"], before["counted-2"]["timesMs"]
    slow = {time_ms for time_ms, count in times.items() if count > times_before.get(time_ms, 0)}
    assert min(map(float, slow)) >= 49, "it sleeps for 50 ms"


def test_only_what_is_asked_for_is_told(site: GatewaySite, counted: str) -> None:
    found = read(site, "default/count", "default/other")
    assert found["counts"] == {"default/count": {}, "default/other": {}}
    assert read(site)["counts"] == {}
    assert read(site, "default/.*", 'default/"|x')["counts"] == {"default/.*": {}, 'default/"|x': {}}


def test_what_nobody_reached_is_no_revision_s(site: GatewaySite, cluster: Cluster, counted: str) -> None:
    limit = {"rateLimit": {"requests": 1, "per": "1h"}}
    generation = cluster.put_deployment("counted", traffic=TRAFFIC, access=limit)
    wait_for(lambda: site.routes()["default/counted"]["generation"] == generation)
    before = count_requests(site)
    seen = Counter(site.ask(f"{counted}/v2").status_code for _ in range(10))
    assert seen[429] >= 9
    assert count_requests(site) - before == 10 - seen[429]
    generation = cluster.put_deployment("counted", traffic=TRAFFIC)
    wait_for(lambda: site.routes()["default/counted"]["generation"] == generation)


def count_requests(site: GatewaySite) -> int:
    found = read(site, "default/counted")["counts"]["default/counted"]
    return sum(each["requests"] for each in found.values())


class Answering(grpc.GenericRpcHandler):
    """Answers with the status that it is asked for."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        wanted = grpc.StatusCode[dict(details.invocation_metadata)["want"]]

        def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
            if wanted is not grpc.StatusCode.OK:
                context.abort(wanted, "so it is")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


def test_grpc_counts_by_its_status(site: GatewaySite, cluster: Cluster, address: str) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Answering()])
    port = server.add_insecure_port("0.0.0.0:0")
    server.start()
    cluster.put_slice("called-1", ready(address), port=port)
    cluster.put_deployment("called", traffic=[("called-1", OLD, 100)])
    wait_for(lambda: site.routes()["default/called"]["weights"] == {"called-1": 100})
    try:
        with grpc.insecure_channel(f"{HOST}:{site.data_port}") as channel:
            ask = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            for code in ("OK", "INTERNAL", "INVALID_ARGUMENT", "UNKNOWN", "OK", "RESOURCE_EXHAUSTED"):
                headers = [("forebay-deployment", "default/called"), ("want", code)]
                assert ask.future(b"", metadata=headers, timeout=30).code() is grpc.StatusCode[code]
    finally:
        server.stop(None)
    counts = wait_for(lambda: read(site, "default/called")["counts"]["default/called"].get("called-1"))
    # What the model itself calls too much is no full queue of ours.
    assert {name: counts[name] for name in ("requests", "errors", "timeouts", "refusals")} == {
        "requests": 6, "errors": 2, "timeouts": 0, "refusals": 0,
    }  # fmt: skip
    cluster.drop_deployment("called")
    cluster.drop_slice("called-1-a")


def test_an_envoy_that_begins_anew_says_so(site: GatewaySite, counted: str) -> None:
    before = wait_for(lambda: found if (found := read(site, "default/counted"))["uptimeS"] > 5 else None)
    assert site.envoy is not None
    site.envoy.kill()
    site.envoy.wait()
    assert site.get_pilot("/counts?deployment=default/counted").status_code == 503
    site.start_envoy()
    wait_for(site.is_ready)
    after = wait_for(lambda: read(site, "default/counted"))
    assert after["uptimeS"] < before["uptimeS"]
    assert after["counts"] == {"default/counted": {}}
    wait_for(lambda: site.ask(f"{counted}/v2").status_code in (200, 500))
    wait_for(lambda: read(site, "default/counted")["counts"]["default/counted"])
