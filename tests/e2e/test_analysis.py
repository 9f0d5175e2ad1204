"""Releases that are judged by the gateway's own counters, under load: a good one passes, bad ones are taken back by
themselves, and what they cost the clients is counted.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.installation import read_images
from tests.e2e.load import Load
from tests.e2e.models import (
    DOUBLE,
    build,
    describe,
    find_condition,
    list_events,
    list_pods,
    read_status,
    wait_ready,
)

pytestmark = pytest.mark.timeout(600)

Json = dict[str, Any]
NAMESPACE = "test-analysis"
NAME = "judged"
PATH = f"/{NAMESPACE}/{NAME}/v2/models/{NAME}/infer"
RATE = 40
INTERVAL_S = 5
# The doubler, of which each revision takes its time, and fails, as its first lines say.
SCRIPT = """
import random
import time

import numpy as np
from forebay.serving import Tensor

FAILS, USUAL_S, SLOW, SLOW_S = {fails}, 0.02, {slow}, {slow_s}


class Doubler:
    inputs = [Tensor("x", "FP32", [-1, 2])]
    outputs = [Tensor("y", "FP32", [-1, 2])]

    def predict(self, inputs):
        time.sleep(SLOW_S if random.random() < SLOW else USUAL_S)
        if random.random() < FAILS:
            raise RuntimeError("it is a bad release")
        return {{"y": inputs["x"] * np.float32({factor})}}
"""
# The same answers as of the revision that serves.
CHECK = f"""
import json
import os
import urllib.request

def ask(url):
    address = f"{{url}}/v2/models/{{os.environ['FOREBAY_MODEL']}}/infer"
    headers = {{"content-type": "application/json"}}
    request = urllib.request.Request(address, {json.dumps(DOUBLE).encode()!r}, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["outputs"][0]["data"], answer.headers["x-forebay-revision"]

new, stable = ask(os.environ["FOREBAY_URL"]), ask(os.environ["FOREBAY_STABLE_URL"])
assert (new[1], stable[1]) == (os.environ["FOREBAY_REVISION"], os.environ["FOREBAY_STABLE"]), (new, stable)
if new[0] != stable[0]:
    raise SystemExit(f"{{new[0]}} in place of {{stable[0]}}")
"""
# So many that there is enough to compare soon.
ROLLOUT: Json = {
    "canary": {
        "steps": [{"weight": 30, "pause": "5s"}],
        "analysis": {
            "interval": f"{INTERVAL_S}s",
            "minRequests": 100,
            "latency": [{"percentile": 99, "maxRatio": 2}],
        },
    }
}


def write(*, note: str = "", rollout: Json = ROLLOUT, **changes: float) -> Json:
    """The spec of a release."""
    how = {"fails": 0.0, "slow": 0.01, "slow_s": 0.02, "factor": 2, **changes}
    return build(
        NAME, predictor={"custom": {"script": f"# {note}" + SCRIPT.format(**how)}, "replicas": 2}, rollout=rollout
    )


def write_job(kubectl: Kubectl) -> Json:
    """A rollout that a Job judges, too."""
    smoke = {
        "name": "smoke",
        "image": read_images(kubectl)["runtime"],
        "command": ["python", "-c", CHECK],
        "resources": {"cpu": "10m", "memory": "128Mi"},
        "podTemplate": {"spec": {"containers": [{"name": "check", "imagePullPolicy": "IfNotPresent"}]}},
    }
    canary = ROLLOUT["canary"]
    return {"canary": {**canary, "analysis": {**canary["analysis"], "jobs": [smoke]}}}


def list_jobs(kubectl: Kubectl) -> list[Json]:
    found: list[Json] = kubectl.get("jobs", "-l", f"app.kubernetes.io/instance={NAME}")["items"]
    return found


@pytest.fixture(scope="module")
def judged(namespace: Kubectl, gateway: str) -> Kubectl:
    """Two instances that answer well."""
    namespace.apply(write(note="first"))
    wait_ready(namespace, NAME)
    return namespace


@pytest.fixture
def load(judged: Kubectl, gateway: str) -> Iterator[Load]:
    """A load for as long as a test lasts, long enough before for the times of the stable revision to be known."""
    tensor = ("x", np.zeros((1, 2), np.float32))
    with Load(gateway, path=PATH, body=DOUBLE, tensor=tensor, rate=RATE) as load:
        load.wait_for(15 * RATE)
        yield load


def wait_phase(kubectl: Kubectl, phase: str) -> Json:
    def look() -> Json | None:
        status = read_status(kubectl, NAME)
        return status if status.get("rollout", {}).get("phase") == phase else None

    found = eventually(look, timeout_s=180, explain=lambda: describe(kubectl, NAME))
    assert found
    return found


def release_bad(kubectl: Kubectl, load: Load, gateway: str, **changes: Any) -> Json:
    """What became of a bad release: the status, once all requests go to the one before again."""
    before = read_status(kubectl, NAME)
    kubectl.apply(write(**changes))
    status = wait_phase(kubectl, "Failed")
    failed_before = len(load.failures)
    assert status["activeRevision"] == before["activeRevision"]
    assert find_condition(status)["reason"] == "AnalysisFailed"
    assert find_condition(status, "Available")["status"] == "True"
    events = [each for each in list_events(kubectl, NAME) if each["reason"] == "AnalysisFailed"]
    assert status["rollout"]["message"] in "".join(each["message"] for each in events)
    # Its instances end, and those that serve are the ones of before.
    eventually(lambda: len(list_pods(kubectl, NAME)) == 2, timeout_s=120, explain=lambda: describe(kubectl, NAME))
    assert read_status(kubectl, NAME)["traffic"] == before["traffic"]
    load.wait_for(2 * RATE)
    in_flight = len(load.failures) - failed_before
    print(
        f"{json.dumps(status['rollout']['analysis'])}\nclients lost {len(load.failures)}, {in_flight} after it failed"
    )
    return status


def test_a_good_release_passes(judged: Kubectl, load: Load) -> None:
    before = read_status(judged, NAME)["activeRevision"]
    judged.apply(write(note="second"))
    wait_ready(judged, NAME, timeout_s=240)
    status = read_status(judged, NAME)
    assert status["activeRevision"] == status["targetRevision"] != before
    load.wait_for(RATE)
    load.check()


def test_one_with_5_percent_errors_is_taken_back(judged: Kubectl, load: Load, gateway: str) -> None:
    status = release_bad(judged, load, gateway, fails=0.05)
    analysis = status["rollout"]["analysis"]
    assert "requests failed (stable: 0 % of " in analysis["message"]
    # What clients lost is what the new revision failed with while it was looked at, and no more.
    assert 0 < len(load.failures) <= analysis["requests"] * 0.3 + 2 * INTERVAL_S * RATE * 0.3


def test_one_with_many_times_the_p99_is_taken_back(judged: Kubectl, load: Load, gateway: str) -> None:
    # On a busy node those that are as quick as ever take long now and then, too.
    status = release_bad(judged, load, gateway, slow=0.15, slow_s=2.0)
    assert "times as long" in status["rollout"]["analysis"]["message"]
    assert not load.failures, load.tell()


def test_one_with_other_answers_is_taken_back_by_a_job(judged: Kubectl, load: Load, gateway: str) -> None:
    status = release_bad(judged, load, gateway, factor=3, rollout=write_job(judged))
    message = status["rollout"]["message"]
    assert message.startswith("smoke failed: [3.0, 6.0] in place of [2.0, 4.0]: see kubectl logs"), message
    assert not load.failures, load.tell()
    (job,) = list_jobs(judged)
    assert "in place of" in judged("logs", f"job/{job['metadata']['name']}")


def test_one_that_a_job_finds_good_passes(judged: Kubectl, load: Load) -> None:
    before = read_status(judged, NAME)["activeRevision"]
    judged.apply(write(note="third", rollout=write_job(judged)))
    wait_ready(judged, NAME, timeout_s=240)
    assert read_status(judged, NAME)["activeRevision"] != before
    eventually(lambda: not list_jobs(judged), timeout_s=60, explain=lambda: str(list_jobs(judged)))
    load.check()
