"""A package index on this machine: wheels that are made here, behind the addresses of PEP 503."""

import base64
import contextlib
import hashlib
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

ANY = "py3-none-any"


@dataclass
class PackageIndex:
    """A running index: what it has, by the name of the file; who may read it; how often it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    credentials: str = ""
    asked: list[str] = field(default_factory=list)

    def add_wheel(
        self, name: str, version: str, *, needs: Sequence[str] = (), tag: str = ANY, python: str = ""
    ) -> None:
        """A wheel with one module, which knows its version."""
        module = name.replace("-", "_")
        info = f"{module}-{version}.dist-info"
        metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
        metadata += [f"Requires-Dist: {each}" for each in needs]
        metadata += [f"Requires-Python: {python}"] if python else []
        content = {
            f"{module}.py": f"VERSION = {version!r}\n",
            f"{info}/METADATA": "\n".join(metadata) + "\n",
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        }
        record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in content.items())
        made = BytesIO()
        with zipfile.ZipFile(made, "w") as wheel:
            for path, text in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
                wheel.writestr(path, text)
        self.files[f"{module}-{version}-{tag}.whl"] = made.getvalue()

    def grow(self, file: str, size: int) -> None:
        """Put so many bytes into a wheel, which pack to few."""
        made = BytesIO(self.files[file])
        with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr("large.bin", bytes(size))
        self.files[file] = made.getvalue()

    def add_source(self, name: str, version: str) -> None:
        """A source distribution; whoever builds it runs its code."""
        self.files[f"{name.replace('-', '_')}-{version}.tar.gz"] = b"not looked at"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        self.asked.append(path)
        wanted = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        if self.credentials and handler.headers.get("Authorization") != wanted:
            _send(handler, 401, b"", {"WWW-Authenticate": "Basic"})
        elif self.status != 200:
            _send(handler, self.status, b"", {})
        elif path.startswith("/files/"):
            _send(handler, 200, self.files[path.removeprefix("/files/")], {})
        else:
            package = path.removeprefix("/simple/").strip("/").replace("-", "_")
            links = [f'<a href="/files/{each}">{each}</a>' for each in self.files if each.startswith(f"{package}-")]
            status = 200 if links else 404
            _send(handler, status, "\n".join(links).encode(), {"Content-Type": "text/html"})


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


@contextlib.contextmanager
def serve_index(address: str = "127.0.0.1") -> Iterator[PackageIndex]:
    """An index on loopback, or another address of this machine, empty at first."""
    index = PackageIndex()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer((address, 0), Handler)
    index.url = f"http://{address}:{server.server_port}/simple"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
