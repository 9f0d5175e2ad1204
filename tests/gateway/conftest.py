import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.local.ports import HOST, find_free_ports
from tests import loopback
from tests.api.apiserver import ControlPlane
from tests.gateway.site import Cluster, GatewaySite, find_own_address, ready, running, wait_for

BACKEND = Path(__file__).parent / "backend.py"


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An apiserver that has the CRDs."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        plane.install_crds()
        plane.kubectl("create", "namespace", "forebay-system")
        yield plane


@pytest.fixture(scope="package")
def cluster(plane: ControlPlane) -> Cluster:
    return Cluster(plane)


@pytest.fixture(scope="package")
def address() -> str:
    return find_own_address()


@pytest.fixture(scope="package")
def backends() -> Iterator[dict[str, int]]:
    """Two instances, and their ports."""
    ports = dict(zip(("one", "two"), find_free_ports(2), strict=True))
    with (
        running([sys.executable, str(BACKEND), str(ports["one"]), "one"]),
        running([sys.executable, str(BACKEND), str(ports["two"]), "two"]),
    ):
        for port in ports.values():
            wait_for(lambda port=port: loopback.get(f"http://{HOST}:{port}/").is_success)
        yield ports


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, plane: ControlPlane) -> Iterator[GatewaySite]:
    """A gateway for the tests of one module."""
    with GatewaySite(tmp_path_factory.mktemp("site"), plane) as site:
        yield site
        for log in (site.log, site.envoy_log):
            # Envoy says so of each WIP message, and of a pilot that is away.
            lines = [line for line in log.read_text().splitlines() if "critical" in line or "Traceback" in line]
            assert not lines, log.read_text()[-4000:]


@pytest.fixture(scope="module")
def digits(cluster: Cluster, site: GatewaySite, backends: dict[str, int], address: str) -> str:
    """A deployment with one instance; returns its path."""
    cluster.put_slice("digits-1", ready(address), port=backends["one"])
    cluster.put_deployment("digits", traffic=[("digits-1", "aaaa1111", 100)])
    wait_for(lambda: site.routes()["default/digits"]["workloads"] == {"digits-1": 1})
    return "/default/digits"
