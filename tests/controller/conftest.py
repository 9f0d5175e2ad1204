import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
import yaml

from forebay.kube.resources import MODEL_DEPLOYMENT
from forebay.local.ports import find_free_ports
from forebay.local.process import read_tail
from tests import commands
from tests.api.apiserver import ControlPlane
from tests.chart.charts import of_kind, render
from tests.controller.gateways import Gateway
from tests.controller.site import Cluster, Json, Nodes, Operator, write_kubeconfig
from tests.gateway.site import find_own_address

SYSTEM = "forebay-system"
_numbers = count()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that waited in vain tells for what: where things stand, and what the operator said last."""
    report = yield
    cluster, namespace, operator = (item.funcargs.get(each) for each in ("cluster", "namespace", "operator"))
    if report.when == "call" and report.failed and cluster and namespace and hasattr(report.longrepr, "addsection"):
        with contextlib.suppress(httpx.HTTPError):
            found = {
                "ModelDeployments": cluster.list_all(MODEL_DEPLOYMENT, namespace, selector=""),
                "Deployments": list(cluster.deployments(namespace).values()),
            }
            told = {
                kind: {each["metadata"]["name"]: each.get("status") for each in items} for kind, items in found.items()
            }
            report.longrepr.addsection("status", yaml.safe_dump(told))
        if operator:
            report.longrepr.addsection("operator", read_tail(operator.log_file, max_bytes=4000))
    return report


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An apiserver, the CRDs, and a gateway."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        plane.install_crds()
        cluster = Cluster(plane)
        cluster.make_namespace(SYSTEM)
        yield cluster


@pytest.fixture(scope="package")
def gateway(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of real Envoy and pilot."""
    folder = tmp_path_factory.mktemp("gateway")
    with Gateway(cluster, folder, namespace=SYSTEM, name="gateway-0", address=build_gateway_address(0)) as made:
        yield made


def build_gateway_address(number: int) -> str:
    """A loopback address that no other run has."""
    return f"127.{90 + number}.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"


@pytest.fixture(scope="package")
def nodes(cluster: Cluster) -> Iterator[Nodes]:
    """What makes instances ready."""
    with Nodes(cluster.plane, address=find_own_address()) as made:
        yield made


@pytest.fixture(scope="session")
def mlflow_port() -> int:
    """Where the operator looks for MLflow, which runs for those tests alone that need it."""
    return find_free_ports(1)[0]


@pytest.fixture(scope="package")
def operator(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, mlflow_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """An operator for all namespaces, with exactly the rights that the chart gives it."""
    folder = tmp_path_factory.mktemp("operator")
    settings = {
        "FOREBAY_MLFLOW_URI": f"http://127.0.0.1:{mlflow_port}", "FOREBAY_MLFLOW_INTERVAL_S": "1",
        "FOREBAY_NOTIFICATION_HOSTS": "*,127.0.0.1",
    }  # fmt: skip
    with Operator(folder, log_in(cluster, folder / "kubeconfig"), namespace=SYSTEM, **settings) as made:
        yield made.wait_leading()


def log_in(cluster: Cluster, path: Path) -> Path:
    """A kubeconfig of the chart's ServiceAccount."""
    rights = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    cluster.plane.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(of_kind(render(), *rights)))
    token = cluster.plane.kubectl("create", "token", "forebay-operator", "-n", SYSTEM, "--duration=1h").stdout.strip()
    return write_kubeconfig(path, url=cluster.plane.url, token=token, ca=cluster.plane.ca)


@pytest.fixture
def namespace(cluster: Cluster, operator: Operator) -> Iterator[str]:
    """A namespace of the test's own; its ModelDeployments are gone afterwards."""
    name = cluster.make_namespace(f"test-{next(_numbers)}")
    yield name
    for each in cluster.client.get(f"/apis/forebay.dev/v1alpha1/namespaces/{name}/modeldeployments").json()["items"]:
        cluster.drop(name, each["metadata"]["name"])


@pytest.fixture(scope="package")
def crash_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Another apiserver, for operators of single namespaces, and with no gateway."""
    with ControlPlane(tmp_path_factory.mktemp("crash-plane")) as plane:
        plane.install_crds()
        yield Cluster(plane)


@pytest.fixture
def environment(cluster: Cluster, namespace: str, tmp_path: Path) -> dict[str, str]:
    """A shell's, for the test's namespace."""
    config: Json = yaml.safe_load(cluster.plane.kubeconfig.read_text())
    for each in config["contexts"]:
        each["context"]["namespace"] = namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "FOREBAY"))}
    path = f"{cluster.plane.kubectl_program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {
        **kept, "KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path), "PATH": path, "NO_COLOR": "1",
        "COLUMNS": "200", "FOREBAY_STATE": str(tmp_path / "state"),
    }  # fmt: skip


@pytest.fixture
def forebay(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, in such a shell."""
    return lambda *arguments: commands.run([*arguments], environment=environment, timeout_s=120)
