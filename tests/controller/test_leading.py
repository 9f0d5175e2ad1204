"""Two operators: never two that write, and never long without one."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.controller.proxy import Proxy, describe
from tests.controller.site import TRITON, Cluster, Nodes, Operator, running, wait_for, write_kubeconfig

LEASE_S = 15


@pytest.fixture
def proxy(crash_cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(crash_cluster.plane) as made, Nodes(crash_cluster.plane):
        yield made


class Pair:
    """Operators of one namespace, each known to the proxy by its name."""

    def __init__(self, cluster: Cluster, proxy: Proxy, folder: Path, namespace: str) -> None:
        self.cluster, self.proxy, self.folder = cluster, proxy, folder
        self.namespace = cluster.make_namespace(namespace)

    def start(self, name: str) -> Operator:
        token = f"{self.namespace}-{name}"
        kubeconfig = write_kubeconfig(self.folder / token, url=self.proxy.url, token=token)
        return Operator(
            self.folder / name, kubeconfig, namespace=self.namespace, watch=self.namespace, FOREBAY_POD_NAME=name
        )

    def holder(self) -> str:
        return str(self.lease()["holderIdentity"]).partition("_")[0]

    def lease(self) -> dict[str, object]:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/forebay-operator"
        found: dict[str, object] = self.cluster.client.get(path).json()["spec"]
        return found

    def writes(self, name: str) -> list[dict[str, object]]:
        return describe(self.proxy.visitors[f"{self.namespace}-{name}"].writes)

    def edit(self, depth: int) -> None:
        """Something to write for whoever leads; and until it is written."""
        self.cluster.replace(self.namespace, TRITON | {"queue": {"depth": depth}})

    def wait_done(self, depth: int) -> None:
        def is_done() -> bool:
            data = self.cluster.find(self.namespace, "ConfigMap", "digits-predictor-queue")["data"]
            return str(depth) in data.values()

        wait_for(is_done)


def check_paused(pair: Pair) -> None:
    """The leader sleeps past its lease; when it wakes there is much to do, and it does nothing of it."""
    with running([first := pair.start("first").wait_leading(), second := pair.start("second")]):
        pair.edit(2)
        pair.wait_done(2)
        wait_for(lambda: second.metrics()["forebay_leader"] == 0)
        first.send(signal.SIGSTOP)
        for depth in range(3, 6):  # what it will hear of when it wakes
            pair.edit(depth)
        second.wait_leading()
        pair.wait_done(5)
        before = pair.writes("first")
        for depth in range(6, 9):
            pair.edit(depth)
        first.send(signal.SIGCONT)
        pair.edit(9)
        assert first.process.wait(60) == 1, first.log
        assert "another operator may lead" in first.log
        pair.wait_done(9)
        second.wait_quiet()
        assert pair.writes("first") == before
        assert pair.holder() == "second"


def check_killed(pair: Pair) -> None:
    """The leader crashes, another takes over; when that one is stopped in order, the next needs not wait."""
    with running([first := pair.start("first").wait_leading(), second := pair.start("second")]):
        pair.edit(2)
        pair.wait_done(2)
        wait_for(lambda: second.metrics()["forebay_leader"] == 0)
        first.kill()
        pair.edit(3)
        second.wait_leading()
        pair.wait_done(3)
        with running([third := pair.start("third")]):
            wait_for(lambda: third.metrics()["forebay_leader"] == 0)
            assert pair.lease()["leaseDurationSeconds"] == LEASE_S
            assert second.stop() == 0
            assert pair.holder() in ("", "third"), "it is given back, and not left to run out"
            third.wait_leading()
            pair.edit(4)
            pair.wait_done(4)
            assert pair.holder() == "third"


def test_two_operators(crash_cluster: Cluster, proxy: Proxy, tmp_path: Path) -> None:
    pairs = [Pair(crash_cluster, proxy, tmp_path / name, name) for name in ("paused", "killed")]
    for pair in pairs:
        pair.folder.mkdir()
        crash_cluster.create(pair.namespace, TRITON)
    with ThreadPoolExecutor() as pool:
        checks = [pool.submit(check, pair) for check, pair in zip((check_paused, check_killed), pairs, strict=True)]
        for each in checks:
            each.result(240)
