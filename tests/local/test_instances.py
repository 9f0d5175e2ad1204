"""Instances of a model inside one real Triton: more under load, fewer after it, and no request refused on the way."""

import json
import os
import queue
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests import loopback
from tests.local.serving_session import REPOSITORIES, ServingSession, forebay, serving, slow_body, slow_grpc

MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: counted}}
spec:
  model: {{uri: "file:{repository}"}}
  predictor: {{triton: {{instances: {{max: 3, cooldown: 3s}}}}, concurrency: 4}}
"""
CLIENTS = 12
LONG_S = 120


@pytest.fixture(scope="module")
def no_more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file is there, another instance can't be loaded."""
    return tmp_path_factory.mktemp("memory") / "none"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, no_more: Path) -> Iterator[ServingSession]:
    folder = tmp_path_factory.mktemp("counted")
    with serving(MANIFEST.format(repository=REPOSITORIES / "counted"), folder, NO_MORE=str(no_more)) as made:
        yield made


def wait_for(what: str, holds: Callable[[], bool], explain: Callable[[], object] = str) -> None:
    deadline = time.monotonic() + LONG_S
    while not holds():
        assert time.monotonic() < deadline, (what, explain())
        time.sleep(0.1)


def count(session: ServingSession) -> int:
    config = loopback.get(session.front("predictor-0") + "/v2/models/counted/config").json()
    return int(config["instance_group"][0]["count"])


def slots(session: ServingSession) -> int:
    """What the queue's Envoy goes by now."""
    return limit(session, "max_connections")


def limit(session: ServingSession, name: str) -> int:
    config = json.loads((session.folder / "envoy/predictor-0.queue.json").read_text())
    admin = config["admin"]["address"]["socket_address"]
    entries = loopback.get(f"http://{admin['address']}:{admin['port_value']}/runtime").json()["entries"]
    return int(entries[f"circuit_breakers.queue.default.{name}"]["final_value"])


def log(session: ServingSession) -> str:
    return (session.folder / "logs/predictor-0.instances.log").read_text()


def value(session: ServingSession) -> float:
    found = re.search(r"^forebay_model_instances{.*} (.*)$", session.metrics(), re.MULTILINE)
    assert found
    return float(found[1])


def pod_metrics(session: ServingSession) -> str:
    """As Prometheus finds them at a pod."""
    config = json.loads((session.folder / "envoy/predictor-0.queue.json").read_text())
    (listener,) = [each for each in config["static_resources"]["listeners"] if each["name"] == "metrics"]
    address = listener["address"]["socket_address"]
    return loopback.get(f"http://{address['address']}:{address['port_value']}/metrics").text


def settle(session: ServingSession) -> None:
    wait_for("one instance", lambda: (count(session), slots(session)) == (1, 4))


class Load:
    """Clients that ask one request after the other, every fourth by gRPC."""

    def __init__(self, session: ServingSession) -> None:
        self.answers: Counter[str] = Counter()
        self.instances: set[int] = set()
        self.stop = threading.Event()
        self._session = session

    def __repr__(self) -> str:
        return f"{self.answers} by {self.instances}"

    def ask_rest(self) -> None:
        url = f"{self._session.url}/v2/models/counted/infer"
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not self.stop.is_set():
                answer = client.post(url, json=slow_body(0.2))
                self.answers[str(answer.status_code)] += 1
                if answer.is_success:
                    self.instances.add(answer.json()["outputs"][0]["data"][0])

    def ask_grpc(self) -> None:
        headers = {"forebay-deployment": "default/counted"}
        with tritonclient.grpc.InferenceServerClient(self._session.record["grpc"]) as client:
            while not self.stop.is_set():
                try:
                    answer = client.infer("counted", slow_grpc(0.2), headers=headers)
                except InferenceServerException as error:
                    self.answers[str(error)] += 1
                else:
                    self.answers["200"] += 1
                    self.instances.add(int(answer.as_numpy("instance")[0]))


@contextmanager
def load(session: ServingSession) -> Iterator[Load]:
    made = Load(session)
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(made.ask_rest if number % 4 else made.ask_grpc) for number in range(CLIENTS)]
        try:
            yield made
        finally:
            made.stop.set()
            for each in asking:
                each.result()


def test_a_step_of_load_gets_more_instances_and_its_end_fewer(session):
    settle(session)
    depth = limit(session, "max_pending_requests")
    with load(session) as made:
        wait_for("three instances", lambda: count(session) == 3)
        wait_for("slots for all three", lambda: slots(session) == 12)
        made.instances.clear()
        # One that ended since may have answered, too.
        wait_for("answers of all three", lambda: len(made.instances) >= 3, lambda: (made, log(session)))
        wait_for("their number", lambda: "forebay_model_instances{" in session.metrics() and value(session) == 3)
        pod = pod_metrics(session)
        assert "forebay_model_instances 3.0" in pod
        assert "nv_inference_request_success" in pod, "Triton's own are there, too"
        assert limit(session, "max_pending_requests") >= depth
    with ThreadPoolExecutor(1) as pool:  # one request at a time goes on
        stop = threading.Event()

        def ask_on() -> list[int]:
            url, found = f"{session.url}/v2/models/counted/infer", []
            while not stop.is_set():
                found.append(loopback.post(url, json=slow_body(0.01), timeout=60).status_code)
            return found

        asking = pool.submit(ask_on)
        try:
            settle(session)
        finally:
            stop.set()
        assert set(asking.result()) == {200}
    assert set(made.answers) == {"200"}, made.answers


def test_what_takes_long_is_answered(session):
    url = f"{session.url}/v2/models/counted/infer"
    with ThreadPoolExecutor(2) as pool:  # a slot's connection is renewed twice a second, but never under a request
        long = [pool.submit(loopback.post, url, json=slow_body(1.5), timeout=60) for _ in range(2)]
        assert [each.result().status_code for each in long] == [200, 200]
    answers: queue.Queue[tuple[object, object]] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(session.record["grpc"]) as client:
        client.start_stream(
            lambda result, error: answers.put((result, error)), headers={"forebay-deployment": "default/counted"}
        )
        for _ in range(4):
            client.async_stream_infer("counted", slow_grpc(0.5))
        assert [answers.get(timeout=60)[1] for _ in range(4)] == [None] * 4
        client.stop_stream()


def test_what_can_t_be_loaded_leaves_what_there_is(session, no_more):
    settle(session)
    # Three are tried before two, unless two seem enough.
    failure = "1 instances go on: 2 could not be loaded"
    before = log(session).count(failure)
    no_more.touch()
    try:
        with load(session) as made:
            wait_for("the failure", lambda: log(session).count(failure) > before, lambda: log(session))
            assert count(session) == 1
            answered = made.answers["200"]
            wait_for("answers after it", lambda: made.answers["200"] > answered + 10)
            assert slots(session) == 4
    finally:
        no_more.unlink()
    assert set(made.answers) == {"200"}, made.answers
    assert "CUDA out of memory" in log(session)
    assert 'forebay_model_instances_loads_total{result="failed"}' in pod_metrics(session)


def test_all_goes_on_without_the_scaler_which_comes_back(session):
    (pid,) = session.pids("forebay.serving.instances")
    os.kill(pid, signal.SIGKILL)
    url = f"{session.url}/v2/models/counted/infer"
    assert loopback.post(url, json=slow_body(0.01), timeout=60).status_code == 200
    wait_for("another one", lambda: session.pids("forebay.serving.instances") not in ([], [pid]))
    # What failed in the life of the last one may be tried again.
    with load(session) as made:
        wait_for("three instances", lambda: count(session) == 3)
    assert set(made.answers) == {"200"}, made.answers


def test_a_queue_and_a_triton_that_start_anew_fit_again(session):
    with load(session):
        wait_for("slots for three instances", lambda: (count(session), slots(session)) == (3, 12))
        (envoy,) = session.pids("predictor-0.queue.json")
        os.kill(envoy, signal.SIGKILL)
        wait_for("another queue", lambda: session.pids("predictor-0.queue.json") not in ([], [envoy]))
        wait_for("its slots", lambda: is_at(session, (3, 12)))
        (triton,) = session.pids("tritonserver")
        os.kill(triton, signal.SIGKILL)
        wait_for("another Triton", lambda: session.pids("tritonserver") not in ([], [triton]))
        wait_for("its instances", lambda: is_at(session, (3, 12)))


def is_at(session: ServingSession, expected: tuple[int, int]) -> bool:
    """Whether it has so many instances and slots; not while one of them starts."""
    try:
        return (count(session), slots(session)) == expected
    except (httpx.HTTPError, KeyError, ValueError):
        return False


def test_a_model_whose_sequences_would_break_off_is_refused(tmp_path):
    shutil.copytree(REPOSITORIES / "counted", tmp_path / "repository")
    with (tmp_path / "repository/counted/config.pbtxt").open("a") as config:
        config.write("sequence_batching {}\n")
    (tmp_path / "manifest.yaml").write_text(MANIFEST.format(repository=tmp_path / "repository"))
    done = forebay("serve", str(tmp_path / "manifest.yaml"), state=tmp_path / "state", NO_MORE=str(tmp_path / "none"))
    assert done.returncode != 0
    assert "has sequence_batching" in done.stdout + done.stderr


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/counted/load"])
def test_nobody_else_can_load_models(session, path):
    for base in (session.url, session.front("predictor-0")):
        assert loopback.post(base + path, json={}).status_code == 404
    address = session.front("predictor-0").removeprefix("http://")
    with tritonclient.grpc.InferenceServerClient(address) as client, pytest.raises(InferenceServerException) as refused:
        client.load_model("counted")
    assert refused.value.status() == "StatusCode.UNIMPLEMENTED"
