"""An instance, `python backend.py PORT NAME`: answers with what it was sent, after `?sleep=SECONDS`.

With `?drip=SECONDS` the second half of the answer comes so much later, with `?status=CODE` it has that status.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        time.sleep(float(query.get("sleep", 0)))
        told = {"name": sys.argv[2], "path": self.path, "headers": dict(self.headers.items())}
        body = json.dumps(told).encode()
        self.send_response(int(query.get("status", 200)))
        self.send_header("content-length", str(len(body)))
        self.send_header("x-name", sys.argv[2])
        self.end_headers()
        self.wfile.write(body[:10])
        time.sleep(float(query.get("drip", 0)))
        self.wfile.write(body[10:])

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
