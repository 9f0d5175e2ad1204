"""Copies of requests through a real gateway: who gets them, what they may cost, and what the pilot makes of them."""

import contextlib
import itertools
import re
import socket
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from forebay.local.ports import HOST, find_free_ports
from tests import loopback
from tests.gateway.site import Cluster, GatewaySite, find_own_address, ready, running, wait_for

INFER = "/v2/models/live/infer"
# Both models are called so.
ONE_NAME = {"predictor": {"triton": {"model": "echo"}}, "model": {"uri": "s3://bucket/echo"}}
CONCURRENCY = 4
_numbers = itertools.count(1)


class Pair:
    """A deployment, `live`, and another one that gets copies of its requests, `dark`."""

    def __init__(self, site: GatewaySite, cluster: Cluster, address: str, ports: dict[str, int]) -> None:
        self.site, self.cluster, self.ports, self._address = site, cluster, ports, address
        # What a gateway still compares of one test is nothing to another.
        self.name = f"live-{next(_numbers)}"
        self.put_slice("live-1", "live")
        self.put_slice("dark-1", "dark")
        cluster.put_deployment("dark", traffic=[("dark-1", "bbbb2222", 100)])
        wait_for(lambda: site.routes()["default/dark"]["workloads"] == {"dark-1": 1})
        self.behave("same")

    def put_slice(self, workload: str, instance: str) -> None:
        self.cluster.put_slice(workload, ready(self._address), port=self.ports[instance])

    def put(self, *, traffic: Any = (("live-1", "aaaa1111", 100),), told: Any = None, **spec: Any) -> None:
        """Write it, by default with a shadow."""
        shadow = {"deployment": "dark", "concurrency": CONCURRENCY}
        spec = {"shadow": shadow, "queue": {"timeout": "1s"}, **spec}
        generation = self.cluster.put_deployment(self.name, traffic=traffic, told=told, **spec)
        wait_for(lambda: self.told["generation"] == generation and self.told["weights"])

    @property
    def told(self) -> dict[str, Any]:
        """What the pilot tells of it."""
        return dict(self.site.routes()[f"default/{self.name}"])

    def behave(self, how: str) -> None:
        assert loopback.post(f"http://{HOST}:{self.ports['dark']}/behave", content=how).is_success

    def see(self, instance: str) -> dict[str, Any]:
        """What an instance has met."""
        return dict(loopback.get(f"http://{HOST}:{self.ports[instance]}/seen").json())

    def count(self, workload: str = "dark-1") -> dict[str, Any]:
        """What the pilot has compared, since it began."""
        told = self.site.get_pilot(f"/differences?deployment=default/{self.name}").json()["comparisons"]
        told = told[f"default/{self.name}"]
        return dict(told.get(workload) or dict.fromkeys(("agreed", "differed", "failed", "lost", "skipped"), 0))

    def ask(self, number: int = 1, *, content: bytes = b"{}", path: str = "", **headers: str) -> None:
        """All are answered by the deployment itself."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = path or f"/default/{self.name}{INFER}"
        for _ in range(number):
            answer = loopback.post(f"{self.site.url}{path}", content=content, headers=named, timeout=30)
            assert answer.json()["outputs"][0]["data"] == [0.25, 0.75]
            assert answer.headers["x-forebay-revision"] == "aaaa1111"

    def expect(self, before: dict[str, Any], workload: str = "dark-1", **more: int) -> dict[str, Any]:
        """Wait until so many more are counted, and nothing else."""
        wanted = {name: count + more.get(name, 0) for name, count in before.items() if isinstance(count, int)}
        return wait_for(
            lambda: (found := self.count(workload)) and {name: found[name] for name in wanted} == wanted and found
        )


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    live, live_grpc, dark, dark_grpc = find_free_ports(4)
    argv = [sys.executable, "-m", "tests.gateway.odd"]
    with running([*argv, str(live), str(live_grpc)]), running([*argv, str(dark), str(dark_grpc)]):
        for port in (live, dark):
            wait_for(lambda port=port: loopback.get(f"http://{HOST}:{port}/seen").is_success)
        yield {"live": live, "dark": dark, "live-grpc": live_grpc, "dark-grpc": dark_grpc}


@pytest.fixture
def pair(site: GatewaySite, cluster: Cluster, ports: dict[str, int], address: str) -> Iterator[Pair]:
    pair = Pair(site, cluster, address, ports)
    yield pair
    for name in (pair.name, "dark"):
        cluster.drop_deployment(name)
    names = {f"default/{name}" for name in (pair.name, "dark")}
    wait_for(lambda: not names & site.routes().keys())


def test_answers_are_compared_and_nobody_notices(pair):
    pair.put()
    assert pair.told["shadow"] == {"problem": "", "sharePct": 100, "workloads": ["dark-1"]}
    before = pair.count()
    pair.ask(2, path=f"/default/{pair.name}{INFER}?a=b", x_forebay_copy="forged")
    pair.ask(2, path=f"{INFER}?a=b", x_forebay_copy="forged", host=f"{pair.name}.default")
    pair.ask(2, path=f"{INFER}?a=b", forebay_deployment=f"default/{pair.name}")
    before = pair.expect(before, agreed=6)
    live, dark = pair.see("live")["last"], pair.see("dark")["last"]
    assert (live["path"], dark["path"]) == ("/v2/models/live/infer?a=b", "/v2/models/dark/infer?a=b")
    assert not {name for each in (live, dark) for name in each["headers"] if name.lower() == "x-forebay-copy"}
    pair.behave("wrong")
    pair.ask(3)
    told = pair.expect(before, differed=3)["examples"][-1]
    assert (told["where"], told["told"], told["shadow"]) == ("outputs.y.data[0]", "0.25", "0.75")
    asked = f"?deployment=default/{pair.name}"
    assert "examples" not in pair.site.get_pilot(f"/comparisons{asked}").text
    other = loopback.get(f"http://{find_own_address()}:{pair.site.pilot_port}/differences{asked}")
    assert (other.status_code, "kubectl port-forward" in other.text) == (403, True)
    text = pair.site.get_pilot("/metrics").text
    sample = 'forebay_shadow_answers_total{namespace="default",deployment="NAME",shadow="dark-1",outcome="differed"} '
    sample = sample.replace("NAME", pair.name)
    assert re.search(f"^{re.escape(sample)}[1-9]", text, re.MULTILINE)
    asked = f"/counts?deployment=default/{pair.name}&deployment=default/dark"
    counts = pair.site.get_pilot(asked).json()["counts"]
    assert counts[f"default/{pair.name}"].keys() == {"live-1"}
    assert not counts["default/dark"]


def test_a_tolerance_is_the_deployment_s_own(pair):
    pair.put(shadow={"deployment": "dark", "tolerance": {"absolute": 0.6}})
    before = pair.count()
    pair.behave("wrong")
    pair.ask(2)
    pair.expect(before, agreed=2)


def test_a_share(pair):
    pair.put(shadow={"deployment": "dark", "share": 50})
    pair.ask(60)
    assert 0 < pair.see("dark")["seen"] < 60


def test_one_that_hangs_costs_no_request_and_holds_no_more_than_it_may(pair):
    pair.put(queue={"timeout": "2s"})
    before = pair.count()
    pair.behave("hang")
    for size in (100, 500_000, 3_000_000):
        pair.ask(10, content=b"x" * size)
    assert pair.see("dark")["seen"] <= 30
    # Those are nobody's own requests.
    assert 0 < count_active(pair.site, f"default/{pair.name}~copied~default/dark-1") <= CONCURRENCY
    assert count_active(pair.site, "default/dark-1") == 0
    # Those that there was room for have timed out; of the others nothing was ever sent.
    found = wait_for(lambda: (told := pair.count())["failed"] + told["lost"] == sum_of(before) + 30 and told)
    assert found["failed"] > before["failed"]
    assert found["examples"][-1]["shadow"] == "504 (timeout)"


def sum_of(counts: dict[str, Any]) -> int:
    return int(counts["failed"] + counts["lost"])


def count_active(site: GatewaySite, cluster: str) -> int:
    found = [line for line in site.admin("/clusters").splitlines() if line.startswith(f"{cluster}::")]
    return sum(int(line.rpartition("::")[2]) for line in found if "::rq_active::" in line)


@pytest.mark.parametrize("how", ["reset", "halfway", "error"])
def test_one_that_crashes(pair, how):
    pair.put()
    before = pair.count()
    pair.behave(how)
    pair.ask(5)
    pair.expect(before, failed=5)


def test_one_that_answers_too_much_is_not_listened_to(pair):
    pair.put()
    before = pair.count()
    pair.behave("huge")
    pair.ask(3)
    assert pair.expect(before, differed=3)["examples"][-1] == {
        **pair.count()["examples"][-1], "where": "the length", "shadow": "more",
    }  # fmt: skip
    # What is in sockets and buffers, of 300 MB.
    assert pair.see("dark")["sent"] < 100_000_000


def test_what_is_too_large_is_not_copied(pair):
    pair.put()
    before = pair.count()
    pair.ask(2, content=b"x" * 2_000_000)
    pair.expect(before, lost=2)
    pair.ask(1, content=b"x" * 1_000_000)
    pair.expect(before, lost=2, agreed=1)
    assert pair.see("dark")["last"]["length"] == 1_000_000


def test_who_sends_slowly_holds_no_place_of_a_copy_for_long(pair):
    pair.put(queue={"timeout": "25s"})
    before = pair.count()
    head = f"POST /default/{pair.name}{INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        address = (HOST, pair.site.data_port)
        slow = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(CONCURRENCY)]
        for each in slow:
            each.sendall(head + b"{")
        copies = f"default/{pair.name}~shadow"
        wait_for(lambda: count_active(pair.site, copies) == CONCURRENCY)
        pair.ask()
        before = pair.expect(before, lost=1)
        wait_for(lambda: count_active(pair.site, copies) == 0, limit_s=15)
        pair.ask()
        before = pair.expect(before, agreed=1)
        for each in slow:
            each.sendall(b"}")
            assert each.recv(100).startswith(b"HTTP/1.1 200")
    pair.expect(before, lost=CONCURRENCY)


def test_one_that_is_not_there_is_told_of(pair):
    pair.put(shadow={"deployment": "none"})
    assert "there is no ModelDeployment none" in pair.told["shadow"]["problem"]
    pair.ask()
    pair.put()
    pair.cluster.drop_slice("dark-1-a")
    wait_for(lambda: "no instance" in pair.told["shadow"]["problem"])
    pair.ask()
    assert pair.see("dark")["seen"] == 0
    pair.put_slice("dark-1", "dark")
    wait_for(lambda: not pair.told["shadow"]["problem"])
    pair.ask()
    wait_for(lambda: pair.see("dark")["seen"] == 1)


def test_a_revision_that_is_to_take_over(pair):
    pair.put_slice("live-2", "dark")
    rollout = {"revision": "cccc3333", "phase": "Running", "step": 1, "steps": 2, "weightPct": 0, "shadowPct": 100}
    pair.put(told={"rollout": {**rollout, "workload": "live-2"}})
    wait_for(lambda: pair.told["shadow"] == {"problem": "", "sharePct": 100, "workloads": ["live-2"]})
    before = pair.count("live-2")
    pair.ask(5)
    before = pair.expect(before, "live-2", agreed=5)
    pair.behave("wrong")
    pair.ask(5)
    pair.expect(before, "live-2", differed=5)
    assert pair.see("dark")["last"]["path"] == "/v2/models/live/infer"
    pair.cluster.drop_slice("live-2-a")


def test_behind_a_fallback_it_is_the_model_s_own_answer(pair):
    pair.put(fallback={"response": {"body": "none"}})
    before = pair.count()
    pair.ask(4)
    pair.expect(before, agreed=4)


def test_grpc(pair):
    pair.put_slice("dark-1", "dark-grpc")
    pair.put_slice("live-1", "live-grpc")
    pair.cluster.put_deployment("dark", traffic=[("dark-1", "bbbb2222", 100)], **ONE_NAME)
    pair.put(**ONE_NAME)
    before = pair.count()
    with grpc.insecure_channel(f"{HOST}:{pair.site.data_port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        metadata = [("forebay-deployment", f"default/{pair.name}")]
        for number in range(3):
            request = service_pb2.ModelInferRequest(model_name="echo", id=f"{number}")
            assert stub.ModelInfer(request, metadata=metadata, timeout=30).id == f"{number}"
        before = pair.expect(before, agreed=3)
        pair.behave("wrong")
        stub.ModelInfer(service_pb2.ModelInferRequest(model_name="echo"), metadata=metadata, timeout=30)
        assert pair.expect(before, differed=1)["examples"][-1]["where"] == "outputs.y.data[0]"


def test_a_pilot_that_is_away_loses_comparisons_alone(pair):
    pair.put()
    pair.ask(2)
    pair.site.kill_pilot()
    try:
        pair.ask(20)
    finally:
        pair.site.start_pilot()
    wait_for(lambda: pair.site.get_pilot("/readyz").is_success)
    wait_for(lambda: (pair.ask(), pair.count()["agreed"])[1])
