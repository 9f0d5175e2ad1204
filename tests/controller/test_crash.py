"""The operator is killed at every one of its writes: whoever comes next ends where an undisturbed one does."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from forebay.kube.resources import CONTROLLER_REVISION
from forebay.local.ports import find_free_ports
from tests.controller.nursery import Nursery
from tests.controller.proxy import Proxy, Visitor
from tests.controller.site import (
    SCALED,
    TRITON,
    WITH_TRANSFORMER,
    Cluster,
    Nodes,
    Operator,
    normalize,
    normalize_status,
    wait_for,
    write_kubeconfig,
)  # fmt: skip

FIRST = WITH_TRANSFORMER | {"predictor": {"triton": {}, "replicas": 2}, "queue": {"depth": 5}}
# The predictor is scaled from now on, and another one; the transformer goes.
SECOND = TRITON | {"predictor": {"triton": {}, **SCALED, "resources": {"cpu": "2"}}}
REST_S = 0.7
_runs = count()


class Case(NamedTuple):
    """Where and when an operator is killed. `kill_at` 0: never."""

    namespace: str
    kill_at: int
    late: bool


class Site(NamedTuple):
    cluster: Cluster
    proxy: Proxy
    nursery: Nursery
    nodes: Nodes
    folder: Path


@pytest.fixture(scope="module")
def site(crash_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    plane = crash_cluster.plane
    with Proxy(plane) as proxy, Nursery() as nursery, Nodes(plane) as nodes:
        yield Site(crash_cluster, proxy, nursery, nodes, tmp_path_factory.mktemp("crash"))


def run(site: Site, case: Case) -> Visitor:
    """Let an operator work in the case's namespace alone, until it is killed or has come to rest."""
    token = f"{case.namespace}-{next(_runs)}"
    visitor = site.proxy.visitors[token] = Visitor(kill_at=case.kill_at, late=case.late)
    kubeconfig = write_kubeconfig(site.folder / token, url=site.proxy.url, token=token)
    (port,) = find_free_ports(1)
    pid = site.nursery.start(
        site.folder / f"{token}.log", KUBECONFIG=str(kubeconfig), FOREBAY_NAMESPACE=case.namespace,
        FOREBAY_WATCH_NAMESPACES=case.namespace, FOREBAY_PORT=str(port), FOREBAY_LOG_FORMAT="text",
    )  # fmt: skip
    seen, since_s = -1, time.monotonic()
    deadline_s = since_s + 20
    while not visitor.killed.wait(0.05) and time.monotonic() < deadline_s:
        if len(visitor.writes) != seen:
            seen, since_s = len(visitor.writes), time.monotonic()
        if seen and time.monotonic() > since_s + REST_S + 0.3 and is_at_rest(site.cluster, case.namespace):
            break
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    # Its lease is nobody's: who comes next here need not wait.
    site.cluster.client.delete(f"/apis/coordination.k8s.io/v1/namespaces/{case.namespace}/leases/forebay-operator")
    return visitor


def is_at_rest(cluster: Cluster, namespace: str) -> bool:
    """There is no gateway, so this is as far as it comes."""
    found = cluster.find(namespace, "ModelDeployment", "digits")
    status = found.get("status", {})
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status["activeRevision"] == status["targetRevision"]
        and all(each["replicas"] == each["readyReplicas"] for each in status["components"])
    )


def picture(cluster: Cluster, namespace: str) -> Any:
    """All that is there, in words that are the same in every namespace."""
    status = cluster.status(namespace)
    found = {name: normalize(each) for name, each in cluster.list_children(namespace).items()}
    for each in found.values():
        each["metadata"]["annotations"]["forebay.dev/applied"] = "DIGEST"
    text = json.dumps([found, normalize_status(status)], sort_keys=True)
    for each in status["components"]:
        text = text.replace(each["workload"], f"{each['name']}-WORKLOAD")
    text = text.replace(status["targetRevision"], "REVISION").replace(namespace, "NAMESPACE")
    return json.loads(text)


def read_history(cluster: Cluster, namespace: str) -> list[tuple[int, str]]:
    """The numbers of what is kept, and what became of each."""
    found = cluster.list_all(CONTROLLER_REVISION, namespace)
    return sorted((each["revision"], each["metadata"]["annotations"]["forebay.dev/outcome"]) for each in found)


def check(site: Site, cases: list[Case], *, revisions: int) -> None:
    """Kill them all, let one operator mend everything, and compare with what was never disturbed."""
    with ThreadPoolExecutor(3) as pool:
        visitors = list(pool.map(lambda case: run(site, case), cases))
    missed = [
        case for case, visitor in zip(cases, visitors, strict=True) if case.kill_at and not visitor.killed.is_set()
    ]
    assert len(missed) <= len(cases) // 10, f"not killed: {missed}"
    with Operator(site.folder, site.cluster.plane.kubeconfig, namespace="recovery") as operator:
        operator.wait_leading()
        wait_for(lambda: all(is_at_rest(site.cluster, case.namespace) for case in cases), every_s=0.5)
        operator.wait_quiet()
        assert operator.stop() == 0
    expected = picture(site.cluster, "undisturbed")
    wrong = [case for case in cases if picture(site.cluster, case.namespace) != expected]
    for case in wrong[:1]:
        assert picture(site.cluster, case.namespace) == expected, case
    assert wrong == []
    kept = [(number, "Served") for number in range(1, revisions + 1)]
    for case in cases:
        assert read_history(site.cluster, case.namespace) == kept, case
        assert site.cluster.status(case.namespace)["activeNumber"] == revisions, case


def test_killed_at_every_write_of_a_create_and_of_an_update(site: Site) -> None:
    cluster = site.cluster
    for name in ("undisturbed", "recovery"):
        cluster.make_namespace(name)
    numbers = []
    for spec in (FIRST, SECOND):
        (cluster.replace if numbers else cluster.create)("undisturbed", spec)
        numbers.append(len(run(site, Case("undisturbed", 0, late=False)).writes))
        if len(numbers) == 1:
            first = picture(cluster, "undisturbed")
    assert min(numbers) > 12, numbers
    cluster.replace("undisturbed", FIRST)
    run(site, Case("undisturbed", 0, late=False))
    assert picture(cluster, "undisturbed") == first
    namespaces = [cluster.make_namespace(f"crash-{number}") for number in range(max(numbers) + 1)]
    for revisions, (spec, number) in enumerate(zip((FIRST, SECOND), numbers, strict=True), start=1):
        # Before the first write, and after each: before the second is the same to who comes next as after the first.
        cases = [Case(namespaces[0], 1, late=False)]
        # One takes more writes than the other: where there is none left to be killed at, it begins all the same.
        cases += [Case(namespaces[at], at if at <= number else 0, late=True) for at in range(1, len(namespaces))]
        for case in cases:
            there = cluster.find(case.namespace, "ModelDeployment", "digits")
            (cluster.replace if there else cluster.create)(case.namespace, spec)
        cluster.replace("undisturbed", spec)
        run(site, Case("undisturbed", 0, late=False))
        check(site, cases, revisions=revisions)
