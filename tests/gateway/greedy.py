"""An instance, `python greedy.py PORT LIMIT_MIB`: keeps 4 MiB of each request until it is out of memory, and ends then
as one that the kernel kills.
"""

import os
import resource
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_EATEN: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        try:
            _EATEN.append(b"x" * 4 * 2**20)
        except MemoryError:
            os._exit(137)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
    limit = int(sys.argv[2]) * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    server.serve_forever()
