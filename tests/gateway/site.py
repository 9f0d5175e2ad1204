"""A gateway as its pod runs it: a real Envoy and the real pilot, beside a real apiserver."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from forebay.local.envoy_binary import find_envoy
from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import die_with_parent
from forebay.plan.envoy import Address
from forebay.plan.envoy_gateway import build_bootstrap
from tests import loopback
from tests.api.apiserver import ControlPlane

WAIT_S = 60.0
Raw = dict[str, Any]
SPEC: Raw = {"predictor": {"custom": {"script": "class A:\n  def predict(self, x): return x\n"}}}


def find_own_address() -> str:
    """An address of this machine that EndpointSlices take: they refuse loopback. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def wait_for(what: Callable[[], Any], *, limit_s: float = WAIT_S, every_s: float = 0.03) -> Any:
    """Until it is true; returns what it is."""
    deadline_s = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(httpx.HTTPError, KeyError):
            found = what()
            if found:
                return found
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(every_s)


class Cluster:
    """Objects of an apiserver, written as users, the operator and Kubernetes itself write them."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self._client = plane.client(timeout=30)

    def put_deployment(
        self, name: str, *, namespace: str = "default", traffic: Sequence[tuple[str, str, int]] = (),
        beside: Sequence[str] = (), told: Raw | None = None, **spec: Any,
    ) -> int:  # fmt: skip
        """Write a ModelDeployment and its status: (workload, revision, weight), each revision's other workloads, and
        what else is `told`.

        Returns its generation.
        """
        path = f"/apis/forebay.dev/v1alpha1/namespaces/{namespace}/modeldeployments/{name}"
        made = {"metadata": {"name": name, "namespace": namespace}, "spec": {**SPEC, **spec}}
        made |= {"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment"}
        generation = int(self._apply(path, made)["metadata"]["generation"])
        shares = [
            {"workload": workload, "workloads": [*beside, workload], "revision": revision, "weightPct": weight}
            for workload, revision, weight in traffic
        ]
        self._apply(
            f"{path}/status",
            {
                **made,
                "status": {"traffic": shares, **(told or {})},
                "spec": {**SPEC, **spec},
            },
        )
        return generation

    def put_workload(self, name: str, *, replicas: int, namespace: str = "default") -> None:
        """Write a Deployment as the operator makes them for a ModelDeployment. Nobody runs it."""
        labels = {"app": name}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "none.test/x"}]}}
        made = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod},
        }
        self._apply(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}", made)

    def drop_workload(self, name: str, *, namespace: str = "default") -> None:
        self._client.delete(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")

    def count_wanted(self, workload: str, *, namespace: str = "default") -> int:
        """How many instances a Deployment is to have."""
        found = self._client.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{workload}").json()
        return int(found["spec"]["replicas"])

    def drop_deployment(self, name: str, *, namespace: str = "default") -> None:
        self._client.delete(f"/apis/forebay.dev/v1alpha1/namespaces/{namespace}/modeldeployments/{name}")

    def put_slice(
        self, workload: str, *endpoints: Raw, port: int, suffix: str = "a", namespace: str = "default"
    ) -> None:
        """Write an EndpointSlice of a workload."""
        labels = {"kubernetes.io/service-name": workload, "app.kubernetes.io/managed-by": "forebay"}
        self.put_raw_slice(f"{workload}-{suffix}", labels, endpoints, port=port, namespace=namespace)

    def put_raw_slice(
        self, name: str, labels: Raw, endpoints: Sequence[Raw], *, port: int, namespace: str = "default"
    ) -> None:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}"
        made = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "addressType": "IPv4",
            "endpoints": list(endpoints),
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        }
        self._apply(path, made)

    def drop_slice(self, name: str, *, namespace: str = "default") -> None:
        self._client.delete(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}")

    def put_secret(self, name: str, keys: dict[str, str], *, namespace: str = "default") -> None:
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        data = {client: base64.b64encode(key.encode()).decode() for client, key in keys.items()}
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}
        self._apply(path, made)

    def drop_secret(self, name: str, *, namespace: str = "default") -> None:
        self._client.delete(f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def _apply(self, path: str, made: Raw) -> Raw:
        headers = {"content-type": "application/apply-patch+yaml"}
        query = {"fieldManager": "test", "force": "true"}
        answer = self._client.patch(path, content=json.dumps(made), headers=headers, params=query)
        assert answer.is_success, answer.text
        found: Raw = answer.json()
        return found


def ready(address: str, **conditions: bool) -> Raw:
    """An endpoint."""
    return {"addresses": [address], "conditions": {"ready": True, **conditions}}


class GatewaySite:
    """An Envoy and a pilot."""

    def __init__(self, folder: Path, plane: ControlPlane, **environment: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.data_port, self.ready_port, self.pilot_port = find_free_ports(3)
        self.admin_socket = str(folder / "admin.sock")
        self.xds_socket = str(folder / "xds.sock")
        self.log = folder / "pilot.log"
        self.envoy_log = folder / "envoy.log"
        self.bootstrap = folder / "bootstrap.json"
        config = build_bootstrap(xds=self.xds_socket, admin=self.admin_socket, ready=Address(HOST, self.ready_port))
        self.bootstrap.write_text(json.dumps(config))
        self.environment = {
            "KUBERNETES_SERVICE_HOST": HOST,
            "KUBERNETES_SERVICE_PORT": plane.url.rpartition(":")[2],
            "FOREBAY_SERVICE_ACCOUNT": str(self._write_account(plane)),
            "FOREBAY_XDS_SOCKET": self.xds_socket,
            "FOREBAY_ADMIN_SOCKET": self.admin_socket,
            "FOREBAY_DATA_PORT": str(self.data_port),
            "FOREBAY_PORT": str(self.pilot_port),
            "FOREBAY_NAMESPACE": "forebay-system",
            **environment,
        }
        self.envoy: subprocess.Popen[bytes] | None = None
        self.pilot: subprocess.Popen[bytes] | None = None
        self.url = f"http://{HOST}:{self.data_port}"

    def _write_account(self, plane: ControlPlane) -> Path:
        """What the kubelet mounts."""
        account = self.folder / "account"
        account.mkdir(exist_ok=True)
        (account / "token").write_text(plane.token)
        (account / "ca.crt").write_bytes(plane.ca.read_bytes())
        return account

    def __enter__(self) -> Self:
        try:
            self.start_pilot()
            self.start_envoy()
            wait_for(self.is_ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.pilot, self.envoy):
            if process is not None:
                process.kill()
                process.wait()

    def start_pilot(self) -> None:
        self.pilot = self._start([sys.executable, "-m", "forebay.gateway"], self.log, self.environment)

    def start_envoy(self) -> None:
        options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--drain-time-s", "10"]
        options += ["--component-log-level", "misc:error", "--drain-strategy", "immediate"]
        options += ["--ignore-unknown-dynamic-fields"]
        self.envoy = self._start([str(find_envoy()), "-c", str(self.bootstrap), *options], self.envoy_log, {})

    def _start(self, argv: Sequence[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with log.open("ab") as written:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=written, stderr=written,
                env={**os.environ, **environment}, preexec_fn=die_with_parent,  # noqa: PLW1509
            )  # fmt: skip

    def kill_pilot(self) -> None:
        assert self.pilot is not None
        self.pilot.kill()
        self.pilot.wait()

    def end_pilot(self) -> int:
        """As the kubelet does it."""
        assert self.pilot is not None
        self.pilot.send_signal(signal.SIGTERM)
        return self.pilot.wait(30)

    def is_ready(self) -> bool:
        """As the kubelet's probe sees Envoy."""
        return loopback.get(f"http://{HOST}:{self.ready_port}/ready").is_success

    def get_pilot(self, path: str) -> httpx.Response:
        return loopback.get(f"http://{HOST}:{self.pilot_port}{path}", timeout=30)

    def routes(self) -> Raw:
        found: Raw = self.get_pilot("/routes").json()["routes"]
        return found

    def ask(self, path: str, **headers: str) -> httpx.Response:
        """One request through the gateway."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return loopback.get(self.url + path, headers=named, timeout=10)

    def admin(self, path: str) -> str:
        """What Envoy's admin interface answers."""
        connection = http.client.HTTPConnection("envoy", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(self.admin_socket)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read().decode()


@contextlib.contextmanager
def running(argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, as long as it is needed."""
    process = subprocess.Popen(argv, preexec_fn=die_with_parent)  # noqa: PLW1509
    try:
        yield process
    finally:
        process.kill()
        process.wait()
