"""Metrics of the scaling: Triton's own with these behind them, so that a pod's `/metrics` has all that is of its model.

| metric | type | meaning |
|---|---|---|
| forebay_model_instances | gauge | instances of the model inside this Triton |
| forebay_model_instances_max | gauge | the most that there may be |
| forebay_model_instances_loads_total | counter | changes of their number, by result: done, failed |
"""

import http.client
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from forebay.serving.drain import ANSWER_S, opener

OWN_PATH = "/own"


class Metrics:
    """The numbers, and the port that tells them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.instances = Gauge(
            "forebay_model_instances", "Instances of the model inside this Triton.", registry=self._registry
        )
        self.most = Gauge("forebay_model_instances_max", "The most that there may be.", registry=self._registry)
        self.loads = Counter(
            "forebay_model_instances_loads", "Changes of their number.", ["result"], registry=self._registry
        )

    def render(self) -> bytes:
        """Those of the scaling alone."""
        return generate_latest(self._registry)

    def serve(self, address: str, *, triton: str) -> None:
        """Answer at HOST:PORT in threads of its own, with Triton's metrics first, unless they are not asked for."""
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = (b"" if self.path == OWN_PATH else read_triton(triton)) + metrics.render()
                self.send_response(200)
                self.send_header("content-type", CONTENT_TYPE_LATEST)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody needs a line for each scrape."""

        host, _, port = address.rpartition(":")
        server = ThreadingHTTPServer((host, int(port)), Handler)
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def read_triton(address: str) -> bytes:
    """Triton's metrics; nothing while it doesn't tell them."""
    request = urllib.request.Request(f"http://{address}/metrics")
    try:
        with opener.open(request, timeout=ANSWER_S) as answer:
            return bytes(answer.read())
    except (OSError, http.client.HTTPException):
        return b""
