"""An instance, `python failing.py PORT SHARE SLEEP_S`: answers that share of the requests with 500, after a while."""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

_numbers = count()
_SHARE, _SLEEP_S = float(sys.argv[2]), float(sys.argv[3])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        number = next(_numbers)
        time.sleep(_SLEEP_S)
        # Evenly: the share is exact over any while.
        fails = int((number + 1) * _SHARE) > int(number * _SHARE)
        self.send_response(500 if fails else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
