"""Requests wait in a real gateway while the instances of one revision take the place of another's: none is lost."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import loopback
from tests.gateway.site import WAIT_S, Cluster, GatewaySite, Raw, find_own_address, ready, wait_for
from tests.gateway.test_zero import ask_many

OLD, NEW = "aaaa1111", "bbbb2222"
SINCE, LATER = "2026-11-22T10:00:00Z", "2026-11-22T10:20:00Z"
MOST = 200


class Swap:
    """A ModelDeployment whose one revision is to take the place of the other."""

    def __init__(self, site: GatewaySite, cluster: Cluster) -> None:
        self.site, self.cluster, self.path = site, cluster, "/default/swap/v2"

    def put(self, revision: str, *, held: str = "", **recreate: object) -> None:
        told: Raw = {"revision": NEW, "phase": "Starting", "step": 0, "steps": 0, "weightPct": 0, "workload": "swap-2"}
        workload = {OLD: "swap-1", NEW: "swap-2"}[revision]
        self.cluster.put_deployment(
            "swap", traffic=[(workload, revision, 100)], told={"rollout": told | {"heldSince": held}} if held else None,
            rollout={"recreate": recreate},
        )  # fmt: skip
        wait_for(lambda: self.route().get("heldSince", "") == held)

    def route(self) -> Raw:
        found: Raw = self.site.routes().get("default/swap", {})
        return found

    def come(self, number: int, port: int) -> None:
        self.cluster.put_slice(f"swap-{number}", ready(find_own_address()), port=port)

    def wait_held(self, count: int) -> None:
        told = 'forebay_requests_held{namespace="default",deployment="swap"} '
        wait_for(lambda: f"{told}{count}\n" in self.site.get_pilot("/metrics").text)

    def ask(self, **headers: str) -> httpx.Response:
        return loopback.get(self.site.url + self.path, headers=headers, timeout=WAIT_S)


@pytest.fixture
def swap(site: GatewaySite, cluster: Cluster, backends: dict[str, int]) -> Iterator[Swap]:
    """The old revision serves."""
    swap = Swap(site, cluster)
    swap.come(1, backends["one"])
    swap.put(OLD)
    wait_for(lambda: swap.ask().is_success)
    yield swap
    cluster.drop_deployment("swap")
    for number in (1, 2):
        cluster.drop_slice(f"swap-{number}-a")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_held_though_somebody_could_answer_and_let_go_to_the_new_one(
    swap: Swap, backends: dict[str, int], pool: ThreadPoolExecutor
) -> None:
    swap.put(OLD, held=SINCE)
    held = [pool.submit(swap.ask) for _ in range(4)]
    swap.wait_held(4)
    assert swap.site.ask("/default/swap@preview/v2").json()["reason"] == "no-such-revision"
    swap.cluster.drop_slice("swap-1-a")
    swap.come(2, backends["two"])
    wait_for(lambda: swap.route()["workloads"] == {"swap-1": 0, "swap-2": 1})
    assert not any(each.done() for each in held)
    assert swap.site.ask("/default/swap@preview/v2").json()["name"] == "two"
    swap.put(NEW)
    for each in held:
        assert (each.result().status_code, each.result().headers["x-forebay-revision"]) == (200, NEW)
    assert swap.ask().headers["x-forebay-revision"] == NEW


def test_since_when_is_told_as_it_is(swap: Swap) -> None:
    swap.put(OLD, held=SINCE)
    swap.put(OLD, held=LATER)
    swap.put(OLD)
    assert swap.ask().status_code == 200


def test_nobody_waits_for_longer_than_they_may_nor_are_they_too_many(swap: Swap) -> None:
    swap.put(OLD, held=SINCE, hold="3s", maxHeld=MOST)
    answers = asyncio.run(ask_many(swap.site, swap.path, MOST + 20))
    reasons = [each.headers["x-forebay-reason"] for each in answers]
    assert {each.status_code for each in answers} == {503}
    assert (reasons.count("rollout-full"), reasons.count("rollout-timeout")) == (20, MOST)
    assert {each.headers["retry-after"] for each in answers} == {"5"}
    late = next(each for each in answers if each.headers["x-forebay-reason"] == "rollout-timeout")
    full = next(each for each in answers if each.headers["x-forebay-reason"] == "rollout-full")
    assert "200 requests (recreate.maxHeld) wait for it already" in full.json()["error"]
    assert "within 3 s (recreate.hold)" in late.json()["error"]
    swap.put(OLD)
    assert swap.ask().status_code == 200


def test_none_is_lost_under_load(swap: Swap, backends: dict[str, int], pool: ThreadPoolExecutor) -> None:
    failures, answered, stop = [], [0], threading.Event()

    def load() -> None:
        with loopback.build_client(timeout=WAIT_S) as client:
            while not stop.is_set():
                answer = client.get(swap.site.url + swap.path)
                answered[0] += 1
                if answer.status_code != 200:
                    failures.append(answer.text)

    loads = [pool.submit(load) for _ in range(3)]
    revision, other = (OLD, 1, "one"), (NEW, 2, "two")
    for number in range(6):
        wait_for(lambda before=answered[0]: answered[0] > before + 20)
        swap.put(revision[0], held=f"2026-11-22T11:00:0{number}Z")
        swap.wait_held(3)
        swap.cluster.drop_slice(f"swap-{revision[1]}-a")
        swap.come(other[1], backends[other[2]])
        wait_for(lambda entry=f"swap-{other[1]}": swap.route()["workloads"].get(entry) == 1 or not entry.endswith("2"))
        revision, other = other, revision
        swap.put(revision[0])
    stop.set()
    for each in loads:
        each.result()
    assert not failures
    assert answered[0] > 100
