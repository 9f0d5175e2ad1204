"""Releases that are bad in other ways than by errors and slow answers (test_analysis.py): never ready, out of memory
under load, up and down, and one of which nobody can tell. None of them wins, and what it cost the clients is told.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.load import Load
from tests.e2e.models import (
    DOUBLE,
    SMALL,
    build,
    describe,
    find_condition,
    list_pods,
    read_status,
    wait_ready,
)

pytestmark = pytest.mark.timeout(400)

Json = dict[str, Any]
NAMESPACE = "test-bad-releases"
RATE = 20
WEIGHT_PCT = 30
INTERVAL_S = 2
NEVER, GREEDY, FLAPS, UNKNOWN = "never", "greedy", "flaps", "unknown"
# Each revision but the first is what its environment says.
SCRIPT = """
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
from forebay.serving import Tensor


class Probe(BaseHTTPRequestHandler):
    # As a server that is there, and then again it isn't.
    def do_GET(self):
        self.send_response(200 if time.monotonic() % 20 < 12 else 503)
        self.end_headers()

    def log_message(self, *_):
        pass


class Doubler:
    inputs = [Tensor("x", "FP32", [-1, 2])]
    outputs = [Tensor("y", "FP32", [-1, 2])]

    def load(self, context):
        self.eaten = []
        if "NEVER" in os.environ:
            raise RuntimeError("there is no such model")
        if "FLAPS" in os.environ:
            threading.Thread(target=HTTPServer(("", 8099), Probe).serve_forever, daemon=True).start()

    def predict(self, inputs):
        if "EATS" in os.environ:
            self.eaten.append(b"x" * 2**22)
        return {"y": inputs["x"] * np.float32(2)}
"""
PROBE = {"httpGet": {"path": "/", "port": 8099}, "periodSeconds": 1, "failureThreshold": 1}


def write(name: str, kind: str = "", **analysis: Any) -> Json:
    """The spec of a release: a good one, or one that is bad in this way."""
    container: Json = {"name": "predictor", "env": [{"name": kind, "value": "1"}] if kind else []}
    if kind == "FLAPS":
        container["readinessProbe"] = PROBE
    asked = {"interval": f"{INTERVAL_S}s", "minRequests": 50, "latency": [{"percentile": 50, "max": "10s"}], **analysis}
    predictor = {
        "custom": {"script": SCRIPT}, "resources": SMALL, "podTemplate": {"spec": {"containers": [container]}},
    }  # fmt: skip
    steps = [{"weight": WEIGHT_PCT, "pause": "5s"}]
    return build(name, predictor=predictor, rollout={"canary": {"steps": steps, "analysis": asked}})


@pytest.fixture(scope="module")
def releases(namespace: Kubectl, gateway: str) -> Kubectl:
    """Good ones, of each of which a bad one is to follow."""
    names = (NEVER, GREEDY, FLAPS, UNKNOWN)
    namespace.apply(*(write(name) for name in names))
    wait_ready(namespace, *names, timeout_s=180)
    return namespace


@contextlib.contextmanager
def asking(gateway: str, *names: str) -> Iterator[dict[str, Load]]:
    """A load on each of them."""
    tensor = ("x", np.zeros((1, 2), np.float32))
    with contextlib.ExitStack() as stack:
        paths = {name: f"/{NAMESPACE}/{name}/v2/models/{name}/infer" for name in names}
        yield {
            name: stack.enter_context(Load(gateway, path=path, body=DOUBLE, tensor=tensor, rate=RATE))
            for name, path in paths.items()
        }


def wait_told(kubectl: Kubectl, name: str, phase: str, words: str) -> Json:
    """Until the rollout is in this phase, and Ready says these words: the status."""

    def look() -> Json | None:
        status = read_status(kubectl, name)
        is_so = status.get("rollout", {}).get("phase") == phase and words in find_condition(status)["message"]
        return status if is_so else None

    found = eventually(look, timeout_s=180, explain=lambda: describe(kubectl, name))
    assert found
    return found


def check_stable(kubectl: Kubectl, name: str, before: Json) -> Json:
    """The one before has all requests, and answers them."""

    def look() -> Json | None:
        status = read_status(kubectl, name)
        is_so = status["traffic"] == before["traffic"] and find_condition(status, "Available")["status"] == "True"
        return status if is_so else None

    found = eventually(look, timeout_s=60, explain=lambda: describe(kubectl, name))
    assert found
    return found


def tell_cost(kubectl: Kubectl, load: Load, name: str) -> None:
    rollout = read_status(kubectl, name)["rollout"]
    lost, all_ = len(load.failures), len(load.failures) + len(load.latencies_s)
    print(f"{name}: {rollout['phase']} {json.dumps(rollout['message'] or rollout.get('analysis', {}))}")
    print(f"clients lost {lost} of {all_}; {load.tell()}")


def go_back(kubectl: Kubectl, *names: str, **analysis: Any) -> None:
    """There is a way out of each."""
    kubectl.apply(*(write(name, **analysis) for name in names))
    wait_ready(kubectl, *names, timeout_s=120)
    for name in names:
        eventually(lambda name=name: len(list_pods(kubectl, name)) == 1, timeout_s=90)


def test_one_that_is_never_ready_and_one_of_which_nobody_can_tell(releases: Kubectl, gateway: str) -> None:
    before = {name: read_status(releases, name) for name in (NEVER, UNKNOWN)}
    # Nobody answers there.
    absent = [{"name": "drift", "address": "http://127.0.0.1:9", "query": "drift", "max": 1}]
    with asking(gateway, NEVER, UNKNOWN) as loads:
        releases.apply(write(NEVER, "NEVER"), write(UNKNOWN, "GOOD", prometheus=absent))
        status = wait_told(releases, NEVER, "Starting", "there is no such model")
        assert status["traffic"] == before[NEVER]["traffic"]
        status = wait_told(releases, UNKNOWN, "Analyzing", "Paused by missing metrics: drift: ")
        assert status["activeRevision"] == before[UNKNOWN]["activeRevision"]
        # Its own requests alone would have passed it by then.
        asked = status["rollout"]["analysis"]["requests"] + 200
        eventually(
            lambda: read_status(releases, UNKNOWN)["rollout"]["analysis"]["requests"] > asked,
            timeout_s=120,
            explain=lambda: describe(releases, UNKNOWN),
        )
        wait_told(releases, UNKNOWN, "Analyzing", "Paused by missing metrics: drift: ")
        assert check_stable(releases, NEVER, before[NEVER])["rollout"]["weightPct"] == 0
        for name, load in loads.items():
            tell_cost(releases, load, name)
        go_back(releases, NEVER, UNKNOWN)
        for load in loads.values():
            load.wait_for(RATE)
    for load in loads.values():
        load.check()


def test_one_that_is_out_of_memory_under_load(releases: Kubectl, gateway: str) -> None:
    before = read_status(releases, GREEDY)
    with asking(gateway, GREEDY) as loads:
        releases.apply(write(GREEDY, "EATS"))
        # By the answers that it owes, or since it goes down again and again: whichever is seen first.
        status = wait_told(releases, GREEDY, "Failed", "tries it again")
        check_stable(releases, GREEDY, before)
        failed_before = len(loads[GREEDY].failures)
        loads[GREEDY].wait_for(3 * RATE)
        tell_cost(releases, loads[GREEDY], GREEDY)
    assert "requests failed" in status["rollout"]["message"] or "went down" in status["rollout"]["message"]
    check_cost(loads[GREEDY], failed_before)


def test_one_that_goes_up_and_down(releases: Kubectl, gateway: str) -> None:
    before = read_status(releases, FLAPS)
    with asking(gateway, FLAPS) as loads:
        # There are never requests enough before it goes.
        releases.apply(write(FLAPS, "FLAPS", minRequests=100000))
        status = wait_told(releases, FLAPS, "Failed", "its instances went down 3 times")
        assert find_condition(status)["reason"] == "RolloutFailed"
        check_stable(releases, FLAPS, before)
        failed_before = len(loads[FLAPS].failures)
        loads[FLAPS].wait_for(3 * RATE)
        tell_cost(releases, loads[FLAPS], FLAPS)
    check_cost(loads[FLAPS], failed_before)


def check_cost(load: Load, failed_before: int) -> None:
    """What it cost is a part of its share, and what was on its way to it when it was taken back."""
    share = WEIGHT_PCT / 100 * (len(load.failures) + len(load.latencies_s))
    assert len(load.failures) <= share, load.tell()
    assert len(load.failures) - failed_before <= 2 * INTERVAL_S * RATE, load.tell()
