"""A web server that keeps what it was sent."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Listener:
    """Answers with `answers`, one after the other, and then with 200. While `held` is set it answers nobody."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.answers: list[int] = []
        self.free = threading.Event()
        self.free.set()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                listener.seen.append(Request(self.path, headers, body))
                listener.free.wait(60)
                self.send_response(listener.answers.pop(0) if listener.answers else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.free.set()
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
