"""Servers that answer what a test tells them to: one with TLS, one that speaks S3's errors."""

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

Route = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Web:
    """A running server: its address, what it answers by path, and what it was asked."""

    address: str = ""
    routes: dict[str, Route] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    sent_bytes: int = 0

    def serve(self, path: str, content: bytes, *, ranges: bool = True, **headers: str) -> str:
        """Serve a file properly. Header names are written with underscores."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            extra = {name.replace("_", "-"): value for name, value in headers.items()}
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", "")) if ranges else None
            body = content[int(match[1]) : int(match[2]) + 1] if match else content
            if match and not content:
                send(handler, 416, b"", {})
                return
            if match:
                extra["Content-Range"] = f"bytes {match[1]}-{int(match[1]) + len(body) - 1}/{len(content)}"
            send(handler, 206 if match else 200, body, extra)
            self.sent_bytes += len(body)

        self.routes[path] = answer
        return self.address + path


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def start(web: Web) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            web.asked.append((self.path, self.headers.get("Range")))
            web.authorizations.append(self.headers.get("Authorization"))
            web.routes.get(path, web.routes.get("*", lambda handler: send(handler, 404, b"", {})))(self)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that hang up are part of these tests."""

    return Server(("127.0.0.1", 0), Handler)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def web(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A TLS server whose certificate is trusted through SSL_CERT_FILE."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.delenv("HTTPS_TOKEN", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    web = Web()
    server = start(web)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    web.address = f"https://localhost:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield web
    server.shutdown()
    server.server_close()


@pytest.fixture
def plain_web() -> Iterator[Web]:
    """A server without TLS, as emulators are."""
    web = Web()
    server = start(web)
    web.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield web
    server.shutdown()
    server.server_close()


@pytest.fixture
def s3(plain_web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """A server that boto3 is pointed at, with credentials that look real."""
    for name, value in {
        "AWS_ENDPOINT_URL": plain_web.address,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "do-not-print-me",
        "AWS_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return plain_web
