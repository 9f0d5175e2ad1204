"""The metrics API beside a real apiserver and controller-manager, and instances with real sidecars."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from forebay.local.envoy_binary import build_envoy_command
from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import die_with_parent
from forebay.plan.envoy import Address
from forebay.plan.envoy_queue import QueueAddresses, build_queue, build_runtime
from forebay.plan.resolve import Server
from tests import loopback
from tests.api.apiserver import ControlPlane
from tests.gateway.site import find_own_address

Raw = dict[str, Any]
NAMESPACE = "models"
OWN = "forebay-system"
API = "/apis/custom.metrics.k8s.io/v1beta2"
LABELS = {"app.kubernetes.io/managed-by": "forebay", "app.kubernetes.io/component": "predictor"}
WAIT_S = 90.0


def wait_for(what: Callable[[], Any], *, limit_s: float = WAIT_S) -> Any:
    """Until it is true; returns what it is."""
    deadline = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(httpx.HTTPError, KeyError, IndexError):
            if found := what():
                return found
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


class Instance:
    """A server that answers when it is let, behind a real sidecar, at an address of its own."""

    def __init__(self, folder: Path, address: str, metrics_port: int, *, slots: int = 2, depth: int = 20) -> None:
        self.address = address
        self._go = threading.Event()
        go = self._go

        class Slow(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                go.wait(WAIT_S)
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Slow)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        (front, admin) = find_free_ports(2)
        self._url = f"http://{address}:{front}/v2/models/m/infer"
        (folder / "runtime").mkdir(parents=True)
        (folder / "runtime/..data").mkdir()
        for name, text in build_runtime(slots=slots, depth=depth).items():
            (folder / "runtime/..data" / name).write_text(text)
        model = Address(HOST, self._server.server_port)
        addresses = QueueAddresses(
            front=Address(address, front), metrics=Address(address, metrics_port), admin=Address(HOST, admin),
            model_http=model, model_grpc=model, model_metrics=model, egress=model, predictors=(),
            runtime_dir=str(folder / "runtime"),
        )  # fmt: skip
        command = build_envoy_command("queue", build_queue(Server.TRITON, addresses, timeout_s=120), folder=folder)
        self._envoy = subprocess.Popen(
            command.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,  # noqa: PLW1509
        )  # fmt: skip
        self._pool = ThreadPoolExecutor(64)
        wait_for(lambda: loopback.get(f"http://{address}:{metrics_port}/stats/prometheus", timeout=2).is_success)

    def send(self, count: int) -> list[Future[int]]:
        """So many requests, which are answered when `let_go` is called."""
        return [self._pool.submit(self._ask) for _ in range(count)]

    def _ask(self) -> int:
        return loopback.post(self._url, json={}, timeout=WAIT_S).status_code

    def let_go(self) -> None:
        self._go.set()

    def stop(self) -> None:
        self._go.set()
        self._envoy.kill()
        self._envoy.wait()
        self._server.shutdown()
        self._server.server_close()
        self._pool.shutdown(cancel_futures=True)


class MetricsSite:
    """The API's process, registered as the chart does it."""

    def __init__(self, folder: Path, plane: ControlPlane, *, sidecar_port: int = 0) -> None:
        self.plane = plane
        self.client = plane.client(timeout=30)
        self.api_port, self.health_port, free_port, self.prometheus_port = find_free_ports(4)
        self.sidecar_port = sidecar_port or free_port
        self.log = folder / "metrics.log"
        account = folder / "account"
        account.mkdir(parents=True)
        (account / "token").write_text(plane.token)
        (account / "ca.crt").write_bytes(plane.ca.read_bytes())
        self._environment = {
            **os.environ,
            "KUBERNETES_SERVICE_HOST": HOST,
            "KUBERNETES_SERVICE_PORT": plane.url.rpartition(":")[2],
            "FOREBAY_SERVICE_ACCOUNT": str(account),
            "FOREBAY_API_PORT": str(self.api_port),
            "FOREBAY_PORT": str(self.health_port),
            "FOREBAY_SIDECAR_PORT": str(self.sidecar_port),
            "FOREBAY_PROMETHEUS_URL": f"http://{HOST}:{self.prometheus_port}/",
            "FOREBAY_LOG_FORMAT": "text",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def install(self, rendered: list[Raw]) -> None:
        """The chart's Service, Secret and APIService; the Service is led to this machine."""
        objects = [each for each in rendered if each["kind"] in ("APIService", "Secret", "Service")]
        assert len(objects) == 3, rendered
        for each in objects:
            if each["kind"] == "Service":
                each["spec"].pop("selector")
                each["spec"]["ports"][0]["targetPort"] = self.api_port
        name = next(each["metadata"]["name"] for each in objects if each["kind"] == "Service")
        endpoints = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": OWN, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [find_own_address()], "conditions": {"ready": True}}],
            "ports": [{"name": "api", "port": self.api_port, "protocol": "TCP"}],
        }
        given = yaml.safe_dump_all([*objects, endpoints])
        self.plane.kubectl("apply", "--server-side", "-f", "-", given=given)

    def start(self) -> None:
        with self.log.open("ab") as written:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "forebay.metrics_api"], stdout=written, stderr=written,
                env=self._environment, preexec_fn=die_with_parent,  # noqa: PLW1509
            )  # fmt: skip
        wait_for(lambda: loopback.get(f"http://{HOST}:{self.health_port}/readyz", timeout=5).is_success)

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    def get(self, path: str, **params: str) -> httpx.Response:
        """Through the apiserver, as an autoscaler asks."""
        return self.client.get(API + path, params=params)

    def values(self, metric: str, *, selector: str = "app=m") -> dict[str, str]:
        """The metric by the names of pods."""
        found = self.get(f"/namespaces/{NAMESPACE}/pods/*/{metric}", labelSelector=selector).raise_for_status().json()
        return {each["describedObject"]["name"]: each["value"] for each in found["items"]}

    def put_pod(self, name: str, address: str, **labels: str) -> None:
        """A pod that runs, as the kubelet would say."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        pod = {
            "metadata": {"name": name, "labels": {**LABELS, **labels}},
            # Of no node: what is of one that isn't there is collected as garbage.
            "spec": {"containers": [{"name": "predictor", "image": "none"}]},
        }
        self.client.post(path, json=pod).raise_for_status()
        self.set_running(name, address)

    def set_running(self, name: str, address: str) -> None:
        conditions = [{"type": "Ready", "status": "True"}]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        self.client.patch(
            f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/status", content=json.dumps({"status": status}),
            headers={"content-type": "application/merge-patch+json"},
        ).raise_for_status()  # fmt: skip


@contextlib.contextmanager
def answering(address: str, port: int, answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[None]:
    """Something at an address that is no sidecar."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, port), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
