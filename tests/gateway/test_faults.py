"""What a gateway does when its pilot, the apiserver or a config fails: it serves on."""

import asyncio
import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from forebay.gateway.objects import Deployment, Slice
from forebay.gateway.report import build_report
from forebay.gateway.server import DiscoveryServer
from forebay.gateway.state import State
from forebay.local.envoy_binary import find_envoy
from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import die_with_parent
from forebay.plan.envoy import Address
from forebay.plan.envoy_gateway import build_bootstrap
from forebay.plan.envoy_revisions import Target
from tests import loopback
from tests.gateway.site import ready, wait_for

CLIENTS = 4


class Load:
    """Clients that ask one after the other, on connections that they keep."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answered = 0
        self.failures: list[str] = []
        self._stop = threading.Event()

    def _ask(self) -> None:
        with loopback.build_client(timeout=10) as client:
            while not self._stop.is_set():
                try:
                    status = client.get(self.url).status_code
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if status != 200:
                    self.failures.append(str(status))
                self.answered += 1
                time.sleep(0.005)

    @contextlib.contextmanager
    def running(self) -> Iterator["Load"]:
        threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(15)

    def until_more(self, count: int = 200) -> None:
        """As many more answers as that."""
        wanted = self.answered + count
        wait_for(lambda: self.answered >= wanted or self.failures)


def test_a_killed_pilot_costs_no_request_and_the_next_one_goes_on(site, cluster, digits, address, backends):
    with Load(f"{site.url}{digits}/v2").running() as load:
        load.until_more()
        site.kill_pilot()
        load.until_more()
        # What changes meanwhile is there when the next one is: a revision that Envoy has never heard of, too.
        cluster.put_slice("digits-2", ready(address), port=backends["two"])
        cluster.put_deployment("digits", traffic=[("digits-2", "bbbb2222", 100)])
        site.start_pilot()
        wait_for(lambda: site.ask(f"{digits}/v2").headers["x-forebay-revision"] == "bbbb2222")
        load.until_more()
    assert not load.failures
    cluster.put_deployment("digits", traffic=[("digits-1", "aaaa1111", 100)])
    wait_for(lambda: site.ask(f"{digits}/v2").headers["x-forebay-revision"] == "aaaa1111")


def test_an_apiserver_that_is_away_costs_no_request(site, cluster, digits, address, backends):
    with Load(f"{site.url}{digits}/v2").running() as load:
        load.until_more()
        cluster.plane.stop_component("kube-apiserver")
        try:
            load.until_more(400)
            assert site.routes()["default/digits"] == {
                "workloads": {"digits-1": 1},
                "weights": {"digits-1": 100},
                "generation": 1,
                "error": "",
            }
            assert site.get_pilot("/readyz").is_success
        finally:
            cluster.plane.start_component("kube-apiserver")
        cluster.put_slice("digits-1", ready(address), port=backends["two"])
        wait_for(lambda: site.ask(f"{digits}/v2").json()["name"] == "two")
        load.until_more()
    assert not load.failures
    assert "forebay_pilot_watch_failures_total 0" not in site.get_pilot("/metrics").text


def test_keys_are_kept_while_the_apiserver_is_away(site, cluster, plane, address, backends):
    cluster.put_secret("away", {"anna": "a-key"})
    cluster.put_slice("away-1", ready(address), port=backends["one"])
    cluster.put_deployment("away", traffic=[("away-1", "r", 100)], access={"apiKeys": {"secretName": "away"}})
    wait_for(lambda: site.ask("/default/away/v2", x_api_key="a-key").is_success)
    plane.stop_component("kube-apiserver")
    try:
        time.sleep(11)  # the Secret is read every 10 s
        assert site.ask("/default/away/v2", x_api_key="a-key").is_success
        assert site.ask("/default/away/v2").status_code == 401
    finally:
        plane.start_component("kube-apiserver")


def test_an_envoy_that_comes_back_is_ready_with_all_routes_only(site, digits):
    assert site.envoy
    site.envoy.kill()
    site.envoy.wait()
    site.start_envoy()
    wait_for(site.is_ready)
    assert site.ask(f"{digits}/v2").status_code == 200


def test_what_envoy_refuses_is_loud_and_leaves_it_as_it_was(site, cluster, digits, address, backends):
    site.kill_pilot()
    with socket.create_server(("0.0.0.0", 0)) as taken:
        site.environment["FOREBAY_DATA_PORT"] = str(taken.getsockname()[1])
        site.start_pilot()
        wait_for(lambda: 'forebay_pilot_nacks_total{kind="Listener"} 1' in site.get_pilot("/metrics").text)
    assert "Envoy refused Listener: " in site.log.read_text()
    cluster.put_slice("digits-1", ready(address), port=backends["one"])
    wait_for(lambda: site.ask(f"{digits}/v2").json()["name"] == "one")
    site.kill_pilot()
    site.environment["FOREBAY_DATA_PORT"] = str(site.data_port)
    site.start_pilot()
    wait_for(lambda: site.get_pilot("/readyz").is_success)


def test_a_pilot_without_an_apiserver_leaves_envoy_alone(site, digits, plane):
    site.kill_pilot()
    plane.stop_component("kube-apiserver")
    try:
        site.start_pilot()
        wait_for(lambda: site.get_pilot("/healthz").is_success)
        assert site.get_pilot("/readyz").status_code == 503
        assert site.get_pilot("/routes").status_code == 503
        time.sleep(1)
        assert site.ask(f"{digits}/v2").status_code == 200
    finally:
        plane.start_component("kube-apiserver")
    wait_for(lambda: site.get_pilot("/readyz").is_success)
    assert site.ask(f"{digits}/v2").status_code == 200


def test_the_end_of_the_pod_costs_no_request(site, digits):
    with Load(f"{site.url}{digits}/v2").running() as load:
        load.until_more()
        ending = threading.Thread(target=site.end_pilot)
        begun = time.monotonic()
        ending.start()
        time.sleep(1)
        answer = site.ask(f"{digits}/v2")
        assert answer.status_code == 200, "whoever still comes is served"
        assert answer.headers["connection"] == "close"
        load.until_more()
    assert not load.failures
    ending.join(60)
    assert time.monotonic() - begun >= 3
    site.start_pilot()
    assert "drained in" in site.log.read_text()


@pytest.fixture
def bare_envoy(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """An Envoy that waits for a pilot: the folder of its sockets, and the port that it is to serve."""
    port, ready_port = find_free_ports(2)
    config = build_bootstrap(
        xds=str(tmp_path / "xds.sock"), admin=str(tmp_path / "admin.sock"), ready=Address(HOST, ready_port)
    )
    (tmp_path / "bootstrap.json").write_text(json.dumps(config))
    argv = [find_envoy(), "-c", tmp_path / "bootstrap.json", "--disable-hot-restart", "--log-level", "error"]
    process = subprocess.Popen(argv, preexec_fn=die_with_parent)  # noqa: PLW1509
    yield tmp_path, port
    process.kill()
    process.wait()


async def test_routes_that_a_real_envoy_refuses_are_found_and_kept_out(bare_envoy):
    folder, port = bare_envoy
    state = State(data_port=port)
    server = DiscoveryServer(lambda: state.snapshot)
    await server.start(str(folder / "xds.sock"))

    async def until_live(*names: str, generation: int) -> None:
        state.build()
        server.publish()
        async with asyncio.timeout(20):
            while True:
                report = build_report(state, server.conversation)
                if all(report[f"ns/{name}"]["generation"] == generation for name in names):
                    return
                await asyncio.sleep(0.01)

    names = [f"d{number}" for number in range(16)]
    for name in names:
        state.put_slice(("ns", name), Slice(cluster=f"ns/{name}", family="IPv4", members=(Address(HOST, 9),)))
        # A silence that is bounded by less than nothing: no ModelDeployment can ask for it.
        state.put_deployment(build_deployment(name, timeout_s=-5 if name == "d3" else 5, generation=1))
    await until_live(*(name for name in names if name != "d3"), generation=1)
    report = build_report(state, server.conversation)
    assert report["ns/d3"]["generation"] == 0
    assert "Envoy refused the gateway's routes: " in report["ns/d3"]["error"]
    assert not any(report[f"ns/{name}"]["error"] for name in names if name != "d3")
    state.put_deployment(build_deployment("d3", timeout_s=5, generation=2))
    await until_live("d3", generation=2)
    await server.stop()


def build_deployment(name: str, *, timeout_s: float, generation: int) -> Deployment:
    return Deployment(
        namespace="ns", name=name, generation=generation, timeout_s=timeout_s, secret="", limit=None,
        targets=(Target(cluster=f"ns/{name}", revision="r"),),
    )  # fmt: skip
