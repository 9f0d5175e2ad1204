"""A cluster in which instances really serve: apiserver, controllers, metrics API, gateway and operator are real, and so
is the sidecar of each instance. Only the kubelet is not: `Kubelet` starts a sidecar for each pod, in front of a model
that takes its time.
"""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx

from forebay.local.envoy_binary import build_envoy_command
from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import die_with_parent
from forebay.plan.envoy import Address
from forebay.plan.envoy_queue import QueueAddresses, build_queue, build_runtime
from forebay.plan.names import METRICS_PORT, WORKLOAD_LABEL
from forebay.plan.resolve import Server
from tests import loopback
from tests.api.apiserver import ControlPlane
from tests.chart.charts import render
from tests.controller.conftest import build_gateway_address, log_in
from tests.controller.gateways import Gateway
from tests.controller.site import Cluster, Operator
from tests.gateway.site import find_own_address
from tests.metrics_api.site import MetricsSite

Json = dict[str, Any]
NAMESPACE, SYSTEM = "models", "forebay-system"
SCRIPT = "class Model:\n    def predict(self, inputs):\n        return inputs\n"
_MERGE = "application/merge-patch+json"
_OURS = "app.kubernetes.io/name=forebay,app.kubernetes.io/component=predictor"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What an instance is like, how long it takes to start, and how often Kubernetes' autoscaler looks."""

    slots: int = 2
    depth: int = 500
    start_s: float = 0.0
    sync: str = "2s"


DEFAULT = Shape()


class Model:
    """What all sidecars have behind them: it answers after a while, or when it is let."""

    def __init__(self, *, service_s: float = 0.0, held: bool = False) -> None:
        self.service_s, self.go = service_s, threading.Event()
        if not held:
            self.go.set()
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                model.go.wait(300)
                time.sleep(model.service_s)
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        class ManyServer(ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

        self._server = ManyServer((HOST, 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> Address:
        return Address(HOST, self._server.server_port)

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()


class Sidecar:
    """The Envoy of one instance. Requests come in at an address that EndpointSlices take, questions at the pod's."""

    def __init__(self, folder: Path, *, pod_address: str, model: Address, shape: Shape) -> None:
        self.port, admin = find_free_ports(2)
        runtime = folder / "runtime/..data"
        runtime.mkdir(parents=True)
        for name, text in build_runtime(slots=shape.slots, depth=shape.depth).items():
            (runtime / name).write_text(text)
        addresses = QueueAddresses(
            front=Address(find_own_address(), self.port), metrics=Address(pod_address, METRICS_PORT),
            admin=Address(HOST, admin), model_http=model, model_grpc=model, model_metrics=model, egress=model,
            predictors=(), runtime_dir=str(runtime.parent),
        )  # fmt: skip
        command = build_envoy_command("queue", build_queue(Server.TRITON, addresses, timeout_s=120), folder=folder)
        self._process = subprocess.Popen(
            command.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,  # noqa: PLW1509
        )  # fmt: skip
        url, until_s = f"http://{pod_address}:{METRICS_PORT}/stats/prometheus", time.monotonic() + 60
        while not self._answers(url):
            assert time.monotonic() < until_s, "the sidecar doesn't start"
            time.sleep(0.03)

    def _answers(self, url: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return loopback.get(url, timeout=2).is_success
        return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Kubelet:
    """Starts an instance for each pod of a predictor, `start_s` after it was seen, and ends it with the pod."""

    def __init__(self, folder: Path, plane: ControlPlane, model: Model, shape: Shape) -> None:
        self.folder, self.model, self.shape = folder, model, shape
        self._client = plane.client(timeout=30)
        self._numbers = count(1)
        self._running: dict[str, tuple[Sidecar, str]] = {}
        self._seen: dict[str, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        # Pods that start nowhere.
        self.is_held = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)
        for sidecar, _ in self._running.values():
            sidecar.stop()

    def _run(self) -> None:
        while not self._stopped.wait(0.1):
            with contextlib.suppress(httpx.HTTPError):
                self._look()

    def _look(self) -> None:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        found = self._client.get(path, params={"labelSelector": _OURS}).raise_for_status().json()["items"]
        pods = {each["metadata"]["name"]: each for each in found if not each["metadata"].get("deletionTimestamp")}
        for name in self._running.keys() - pods.keys():
            sidecar, slice_path = self._running.pop(name)
            self._client.delete(slice_path)
            sidecar.stop()
        for name, pod in pods.items():
            began_s = self._seen.setdefault(name, time.monotonic())
            if name not in self._running and not self.is_held and time.monotonic() - began_s >= self.shape.start_s:
                self._start(name, pod)

    def _start(self, name: str, pod: Json) -> None:
        number = next(self._numbers)
        address = f"127.{70 + number // 200}.{os.getpid() % 250 + 1}.{number % 200 + 1}"
        sidecar = Sidecar(self.folder / name, pod_address=address, model=self.model.address, shape=self.shape)
        workload = pod["metadata"]["labels"][WORKLOAD_LABEL]
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
        self._running[name] = sidecar, f"{slices}/{name}"
        labels = {"kubernetes.io/service-name": workload, "app.kubernetes.io/managed-by": "forebay"}
        body = {
            "metadata": {"name": name, "labels": labels}, "addressType": "IPv4",
            "endpoints": [{"addresses": [find_own_address()], "conditions": {"ready": True}}],
            "ports": [{"name": "http", "port": sidecar.port, "protocol": "TCP"}],
        }  # fmt: skip
        self._client.post(slices, json=body).raise_for_status()
        status = {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
        }  # fmt: skip
        self._client.patch(
            f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/status", json={"status": status},
            headers={"content-type": _MERGE},
        ).raise_for_status()  # fmt: skip


class ScalingSite:
    """All of it."""

    def __init__(self, folder: Path, *, model: Model, shape: Shape) -> None:
        self.folder, self.model, self.shape = folder, model, shape
        self._stack = contextlib.ExitStack()
        self._pool = ThreadPoolExecutor(200)

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self.plane = enter(
            ControlPlane(self.folder / "plane", controller_manager=True, autoscaler_sync=self.shape.sync)
        )
        self.plane.install_crds()
        for name in (NAMESPACE, SYSTEM):
            self.plane.kubectl("create", "namespace", name)
        self.cluster = Cluster(self.plane)
        self.metrics_api = MetricsSite(self.folder / "metrics", self.plane, sidecar_port=METRICS_PORT)
        self.metrics_api.install([each for each in render() if "metrics" in each["metadata"]["name"]])
        self.metrics_api.start()
        self._stack.callback(self.metrics_api.stop)
        self.gateway = enter(
            Gateway(self.cluster, self.folder / "gateway", namespace=SYSTEM, name="gateway-0",
                    address=build_gateway_address(5))
        )  # fmt: skip
        self.kubelet = enter(Kubelet(self.folder / "pods", self.plane, self.model, self.shape))
        self.kubeconfig = log_in(self.cluster, self.folder / "kubeconfig")
        self.operator = enter(self.start_operator()).wait_leading()
        return self

    def __exit__(self, *exception: object) -> None:
        self.model.go.set()
        self._pool.shutdown(cancel_futures=True)
        self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def start_operator(self, name: str = "operator") -> Operator:
        return Operator(self.folder / name, self.kubeconfig, namespace=SYSTEM)

    def create(self, name: str, *, gpu: Json | None = None, **autoscaling: Any) -> str:
        """A ModelDeployment that scales; the name of its workload once it serves."""
        spec: Json = {"predictor": {"custom": {"script": SCRIPT}, "concurrency": 2, "autoscaling": autoscaling}}
        if gpu:
            spec["predictor"]["resources"] = {"gpu": gpu}
        self.cluster.create(NAMESPACE, spec, name=name)
        self.cluster.wait_reason(NAMESPACE, "Ready", name, limit_s=120)
        (component,) = self.cluster.status(NAMESPACE, name)["components"]
        return str(component["workload"])

    def send(self, name: str, requests: int) -> list[Future[int]]:
        """So many requests through the gateway, at once."""
        return [self._pool.submit(self.ask, name) for _ in range(requests)]

    def ask(self, name: str) -> int:
        url = f"{self.gateway.site.url}/{NAMESPACE}/{name}/v2/models/{name}/infer"
        return loopback.post(url, json={}, timeout=120).status_code

    def autoscaler(self, workload: str) -> Json:
        return self.cluster.find(NAMESPACE, "HorizontalPodAutoscaler", workload)

    def events(self, name: str) -> list[str]:
        """What was told of a ModelDeployment: reasons and messages."""
        found = self.cluster.events(NAMESPACE)
        return [f"{each['reason']}: {each['message']}" for each in found if each["involvedObject"]["name"] == name]


@contextlib.contextmanager
def serving(folder: Path, *, model: Model, shape: Shape = DEFAULT) -> Iterator[ScalingSite]:
    """A site, and its model's end."""
    try:
        with ScalingSite(folder, model=model, shape=shape) as site:
            yield site
    finally:
        model.close()
