"""The agent's HTTP port: health and metrics."""

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def serve_http(port: int, write_metrics: Callable[[], bytes]) -> ThreadingHTTPServer:
    """Answer /healthz and /metrics on all addresses, in the background."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers: dict[str, Callable[[], bytes]] = {"/healthz": lambda: b"ok\n", "/metrics": write_metrics}
            answer = answers.get(self.path.partition("?")[0])
            body = answer() if answer else b"here are /healthz and /metrics\n"
            self.send_response(HTTPStatus.OK if answer else HTTPStatus.NOT_FOUND)
            self.send_header("content-type", _TYPE)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        # Of both kinds, where there are both.
        address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

        def server_bind(self) -> None:
            if self.address_family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    server = Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
