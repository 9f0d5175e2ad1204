"""A gateway that the operator finds as in a cluster: a pod, at whose address a real pilot answers, beside an Envoy."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import httpx

from forebay.kube.resources import POD
from forebay.local.ports import HOST
from tests.controller.relay import Relay
from tests.controller.site import Cluster, Json
from tests.gateway.site import GatewaySite

_PORT = 9090


class Gateway:
    """A pod of the gateway. Its address is a loopback one of its own, since the pilot's port is always the same."""

    def __init__(
        self, cluster: Cluster, folder: Path, *, namespace: str, name: str, address: str, **environment: str
    ) -> None:
        self.site = GatewaySite(folder, cluster.plane, **environment)
        self._cluster, self._path = cluster, POD.path(namespace=namespace)
        self.name, self.address = name, address
        # What it tells of ModelDeployments at GET /idle, by their route: None of one is nothing, None of all no answer.
        self.idle: dict[str, Json | None] | None = {}
        self.times_asked = 0
        # Whether it answers GET /counts.
        self.tells_counts = True
        self._front = _build_front(self)
        self._relay = Relay((address, _PORT), lambda: (HOST, self._front.server_port))

    def __enter__(self) -> Self:
        self.site.__enter__()
        threading.Thread(target=self._front.serve_forever, daemon=True).start()
        self._relay.__enter__()
        labels = {"app.kubernetes.io/name": "forebay", "app.kubernetes.io/component": "gateway"}
        container = {"name": "envoy", "image": "envoy"}
        body: Json = {"metadata": {"name": self.name, "labels": labels}, "spec": {"containers": [container]}}
        self._cluster.write("POST", self._path, body)
        self.tell(ready=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._relay.__exit__()
        self._front.shutdown()
        self._front.server_close()
        self.site.__exit__()
        self._cluster.client.delete(f"{self._path}/{self.name}", params={"gracePeriodSeconds": "0"})

    def answer(self, path: str) -> httpx.Response:
        """The pilot's answer; of who idles it says what a test wants."""
        if path.startswith("/counts") and not self.tells_counts:
            return httpx.Response(503)
        found = self.site.get_pilot(path)
        if path != "/idle":
            return found
        self.times_asked += 1
        if self.idle is None:
            return httpx.Response(503)
        told = (found.json()["idle"] if found.is_success else {}) | self.idle
        return httpx.Response(200, json={"idle": {route: each for route, each in told.items() if each is not None}})

    def tell(self, *, ready: bool) -> None:
        """What the kubelet would tell of the pod."""
        conditions = [{"type": "Ready", "status": str(ready)}]
        containers = [{"name": "envoy", "ready": True, "restartCount": 0, "image": "envoy", "imageID": ""}]
        status = {"phase": "Running", "podIP": self.address, "podIPs": [{"ip": self.address}], "conditions": conditions,
                  "containerStatuses": containers}  # fmt: skip
        path = f"{self._path}/{self.name}/status"
        self._cluster.write("PATCH", path, {"status": status}, form="application/merge-patch+json")


def _build_front(gateway: Gateway) -> ThreadingHTTPServer:
    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer = gateway.answer(self.path)
            except httpx.HTTPError:
                return  # as a pilot that is down
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    class ManyServer(ThreadingHTTPServer):
        daemon_threads = True

    return ManyServer((HOST, 0), Front)
