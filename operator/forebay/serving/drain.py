"""Hold a model server back from its end until the queue in front of it is empty: what its preStop hook runs.

Standard library and Python 3.8 only: Triton's image has this file alone, as /opt/forebay/drain.py.

The kubelet takes a pod out of its Service and runs this at the same moment, so requests still come for a while:
`--settle` is that while. Then the queue must be seen empty a few times in a row, since a request is for a moment
neither in the queue nor in the server. Where the sidecar doesn't answer, there is only the settling to wait for.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.parse
import urllib.request
from http.client import HTTPException

# In flight, and waiting.
STATS = r"^cluster\.queue\.upstream_rq_(active|pending_active)$"
EMPTY_POLLS = 3
POLL_S = 0.1
ANSWER_S = 1.0
# The sidecar is in the same pod: no proxy lies between.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def count_requests(admin: str) -> int | None:
    """Requests in the queue and in the server; None where the sidecar doesn't say."""
    query = urllib.parse.urlencode({"format": "json", "filter": STATS})
    try:
        with opener.open(f"http://{admin}/stats?{query}", timeout=ANSWER_S) as answer:
            return sum(int(each["value"]) for each in json.load(answer)["stats"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None


def drain(admin: str, *, settle_s: float, timeout_s: float) -> int:
    """Return when the queue is empty or the time is over: the number of requests that are left."""
    began, empty_polls = time.monotonic(), 0
    while True:
        # A sidecar that is gone holds no requests.
        left = count_requests(admin) or 0
        empty_polls = 0 if left else empty_polls + 1
        spent_s = time.monotonic() - began
        if spent_s >= timeout_s or (spent_s >= settle_s and empty_polls >= EMPTY_POLLS):
            return left
        time.sleep(POLL_S)


def main(argv: list[str] | None = None) -> int:
    """Drain, and say what is left: the kubelet makes an Event of a hook that fails."""
    parser = argparse.ArgumentParser(description="Wait until the queue in front of this model server is empty.")
    parser.add_argument("--admin", default="127.0.0.1:9901", help="the sidecar's admin, HOST:PORT")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds in which requests may still come")
    parser.add_argument("--timeout", type=float, default=35.0, help="seconds after which it is given up")
    options = parser.parse_args(argv)
    left = drain(options.admin, settle_s=options.settle, timeout_s=options.timeout)
    if left:
        print(f"{left} requests are still there after {options.timeout:g} s, and are cut off", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
