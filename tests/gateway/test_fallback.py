"""Somebody else answers for a deployment that can't, through a real gateway."""

import contextlib
import http.client
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from forebay.local.ports import HOST, find_free_ports
from tests import loopback
from tests.gateway.site import SPEC, Cluster, GatewaySite, find_own_address, ready, running, wait_for

SIMPLE = "simple"
ANOTHER = {"deployment": SIMPLE}
FIXED = {"response": {"status": 203, "contentType": "text/plain", "body": "come back later"}}
PATH = "/default/rich/v2/models/rich/infer"
SCRIPT = "class A:\n    def predict(self, inputs):\n        return inputs\n"
# Both models are called so.
ONE_NAME = {"predictor": {"triton": {"model": "echo"}}, "model": {"uri": "s3://bucket/echo"}}
METADATA = [("forebay-deployment", "default/rich")]
INSTANCES = 3


class Rich:
    """The deployment that has a fallback, and who else there is."""

    def __init__(self, site: GatewaySite, cluster: Cluster, ports: dict[str, int]) -> None:
        self.site, self.cluster, self.ports = site, cluster, ports
        self._address = find_own_address()

    def put(self, *instances: str, **spec: Any) -> None:
        """Write it, with these instances."""
        for index in range(INSTANCES):
            if index < len(instances):
                self.put_slice("rich-1", instances[index], suffix=f"{index}")
            else:
                self.cluster.drop_slice(f"rich-1-{index}")
        generation = self.cluster.put_deployment("rich", traffic=[("rich-1", "aaaa1111", 100)], **spec)
        wait_for(lambda: self.told["generation"] == generation)
        wait_for(lambda: self.told["workloads"] == {"rich-1": len(instances)})

    def put_other(self, name: str, instance: str, *, revision: str = "dddd4444", **spec: Any) -> None:
        """Write another deployment, with an instance."""
        self.put_slice(f"{name}-1", instance)
        self.cluster.put_deployment(name, traffic=[(f"{name}-1", revision, 100)], **spec)
        wait_for(lambda: self.site.routes()[f"default/{name}"]["workloads"] == {f"{name}-1": 1})

    def put_slice(self, workload: str, instance: str, *, suffix: str = "a") -> None:
        self.cluster.put_slice(workload, ready(self._address), port=self.ports[instance], suffix=suffix)

    @property
    def told(self) -> dict[str, Any]:
        """What the pilot tells of it."""
        return dict(self.site.routes()["default/rich"])

    def ask(self, query: str = "", **headers: str) -> httpx.Response:
        return self.site.ask(PATH + query, **headers)


@pytest.fixture(scope="module")
def ports(backends: dict[str, int]) -> Iterator[dict[str, int]]:
    """Instances: two that answer, one whose queue is full, and two that aren't there."""
    full, full_grpc, *nobody = find_free_ports(4)
    argv = ["-m", "tests.gateway.bounded", str(full), str(full_grpc), "0", "0", "0"]
    with running([sys.executable, *argv]):
        wait_for(lambda: loopback.get(f"http://{HOST}:{full}/").status_code == 429)
        yield {**backends, "full": full, "full-grpc": full_grpc, "gone": nobody[0], "gone-too": nobody[1]}


@pytest.fixture(scope="module")
def simple(site: GatewaySite, cluster: Cluster, ports: dict[str, int]) -> str:
    """A simpler deployment, with one instance: `two`."""
    Rich(site, cluster, ports).put_other(SIMPLE, "two", revision="cccc3333")
    return SIMPLE


@pytest.fixture
def rich(site: GatewaySite, cluster: Cluster, ports: dict[str, int], simple: str) -> Iterator[Rich]:
    yield Rich(site, cluster, ports)
    cluster.drop_deployment("rich")
    for index in range(INSTANCES):
        cluster.drop_slice(f"rich-1-{index}")
    wait_for(lambda: "default/rich" not in site.routes())


def test_one_that_answers_needs_no_fallback(rich):
    rich.put("one", fallback=ANOTHER)
    answer = rich.ask("?a=b", x_forebay_passed="yes", x_envoy_attempt_count="2")
    assert (answer.json()["name"], answer.json()["path"]) == ("one", "/v2/models/rich/infer?a=b")
    assert answer.headers["x-forebay-revision"] == "aaaa1111"
    assert not answer.headers.keys() & {"x-forebay-fallback", "x-forebay-cause"}
    assert "x-forebay-passed" not in {name.lower() for name in answer.json()["headers"]}


def test_another_deployment_answers_for_one_that_is_down(rich):
    rich.put(fallback=ANOTHER)
    for path, headers in (
        (f"{PATH}?a=b", {}),
        ("/v2/models/rich/infer?a=b", {"host": "rich.default"}),
        ("/v2/models/rich/infer?a=b", {"forebay_deployment": "default/rich"}),
    ):
        answer = rich.site.ask(path, **headers)
        assert (answer.json()["name"], answer.json()["path"]) == ("two", "/v2/models/simple/infer?a=b")
        assert answer.headers["x-forebay-fallback"] == SIMPLE
        assert answer.headers["x-forebay-revision"] == "cccc3333"
    assert rich.site.ask("/default/rich/predict").json()["path"] == "/predict"
    assert rich.site.ask("/default/rich/v1/models/rich:predict").json()["path"] == "/v1/models/simple:predict"


def test_a_fallback_that_goes_away_costs_no_request(rich):
    rich.put("one", fallback=ANOTHER)
    stop, codes = threading.Event(), []

    def ask() -> None:
        with loopback.build_client(timeout=30) as client:
            while not stop.is_set():
                codes.append(client.get(rich.site.url + PATH).status_code)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for spec in ({}, {"fallback": ANOTHER}) * 5:
                rich.put("one", **spec)
        finally:
            stop.set()
        for each in asking:
            each.result(timeout=60)
    assert set(codes) == {200}


def test_a_connection_that_nobody_takes_is_one_that_is_down(rich):
    rich.put("gone", "gone-too", fallback=ANOTHER)
    assert rich.ask().headers["x-forebay-fallback"] == SIMPLE


def test_a_fixed_answer(rich):
    rich.put(fallback=FIXED)
    answer = loopback.post(f"{rich.site.url}{PATH}", content=b"x" * 300_000, timeout=30)
    assert (answer.status_code, answer.text) == (203, "come back later")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-forebay-fallback"] == "response"


def test_other_instances_come_first_when_a_queue_is_full(rich):
    rich.put("full", "one", fallback=ANOTHER)
    answers = [rich.ask() for _ in range(20)]
    assert {answer.json()["name"] for answer in answers} == {"one"}
    assert not any("x-forebay-fallback" in answer.headers for answer in answers)
    rich.put("full", fallback=ANOTHER)
    assert rich.ask().headers["x-forebay-fallback"] == SIMPLE
    rich.put("full", fallback={**ANOTHER, "when": ["Down", "Slow"]})
    answer = rich.ask()
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (429, "queue-full")
    assert "x-forebay-fallback" not in answer.headers


def test_one_that_is_too_slow(rich):
    rich.put("one", fallback={**FIXED, "after": "100ms"})
    assert rich.ask("?sleep=60").headers["x-forebay-fallback"] == "response"


def test_an_answer_that_has_begun_goes_on(rich):
    rich.put("one", fallback={**FIXED, "after": "500ms"})
    answer = rich.ask("?drip=1.5")
    assert answer.json()["name"] == "one"
    assert "x-forebay-fallback" not in answer.headers


def test_one_that_is_slow_is_still_heard_where_the_fallback_fails(rich):
    rich.put_other("busy", "full")
    rich.put("one", fallback={"deployment": "busy", "after": "100ms"})
    answer = rich.ask("?sleep=1")
    assert answer.json()["name"] == "one"
    assert "x-forebay-fallback" not in answer.headers


def test_errors_of_the_model_itself_only_where_that_is_asked_for(rich):
    rich.put("one", fallback=FIXED)
    assert rich.ask("?status=500").json()["name"] == "one"
    rich.put("one", fallback={**FIXED, "when": ["Error"]})
    assert rich.ask("?status=500").headers["x-forebay-fallback"] == "response"
    for status in ("400", "404", "429"):
        answer = rich.ask(f"?status={status}")
        assert answer.json()["name"] == "one"
        assert "x-forebay-cause" not in answer.headers
    rich.put(fallback={**FIXED, "when": ["Error"]})
    answer = rich.ask()
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "no-instance")


def test_where_the_fallback_is_down_too_the_error_is_the_first(rich):
    rich.put("full", fallback=ANOTHER)
    assert rich.ask().headers["x-forebay-fallback"] == SIMPLE
    rich.cluster.drop_slice("simple-1-a")
    wait_for(lambda: "no instance" in rich.told["fallback"]["problem"])
    answer = wait_for(lambda: (found := rich.ask()).status_code == 429 and found)
    assert answer.headers["x-forebay-reason"] == "queue-full"
    assert "x-forebay-fallback" not in answer.headers
    rich.put_slice("simple-1", "two")
    wait_for(lambda: not rich.told["fallback"]["problem"])
    assert rich.ask().headers["x-forebay-fallback"] == SIMPLE
    rich.put("full", fallback={"deployment": "none"})
    assert "there is no ModelDeployment none" in rich.told["fallback"]["problem"]
    assert rich.ask().headers["x-forebay-reason"] == "queue-full"


def test_a_fallback_s_own_fallback_is_not_asked(rich):
    rich.put_other("one-way", "full", fallback={"deployment": "rich"})
    rich.put("full", fallback={"deployment": "one-way"})
    for path, name in ((PATH, "one-way"), ("/default/one-way/v2", "rich")):
        answer = wait_for(lambda path=path: "x-forebay-fallback" in (found := rich.site.ask(path)).headers and found)
        assert (answer.status_code, answer.headers["x-forebay-fallback"]) == (429, name)
    rich.cluster.drop_deployment("one-way")


def test_the_budget_bounds_it(rich):
    # The fallback works for as long as the connections are open.
    rich.put(fallback={**ANOTHER, "budget": 1})
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(contextlib.closing(http.client.HTTPConnection(HOST, rich.site.data_port)))
            connection.request("GET", f"{PATH}?sleep=60")
        wait_for(lambda: count_active(rich.site, "default/simple-1") == 3)
        answer = rich.ask()
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "no-instance")
        assert "x-forebay-fallback" not in answer.headers
        rich.put(fallback=ANOTHER)
        assert rich.ask().headers["x-forebay-fallback"] == SIMPLE


def test_one_that_is_slow_goes_on_where_the_budget_is_used_up(rich):
    rich.put("one", fallback={**ANOTHER, "after": "100ms", "budget": 1})
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(contextlib.closing(http.client.HTTPConnection(HOST, rich.site.data_port)))
            connection.request("GET", f"{PATH}?sleep=60")
        wait_for(lambda: count_active(rich.site, "default/simple-1") == 3)
        answer = rich.ask("?sleep=1")
        assert (answer.status_code, answer.json()["name"]) == (200, "one")
        assert "x-forebay-fallback" not in answer.headers


def count_active(site: GatewaySite, cluster: str) -> int:
    """Requests that the instances of a cluster work on."""
    found = [line for line in site.admin("/clusters").splitlines() if line.startswith(f"{cluster}::")]
    return sum(int(line.rpartition("::")[2]) for line in found if "::rq_active::" in line)


def test_who_may_not_call_gets_no_fallback_and_who_may_needs_no_second_key(rich):
    for name in ("rich", "shut"):
        rich.cluster.put_secret(f"{name}-keys", {"anna": f"key-of-{name}"})
    keys = {"apiKeys": {"secretName": "shut-keys"}}
    rich.put_other("shut", "two", access=keys)
    wait_for(lambda: rich.site.ask("/default/shut/v2").headers["x-forebay-reason"] == "no-api-key")
    rich.put(fallback={"deployment": "shut"}, access={"apiKeys": {"secretName": "rich-keys"}})
    wait_for(lambda: rich.ask().headers["x-forebay-reason"] == "no-api-key")
    assert rich.ask(x_forebay_passed="yes").status_code == 401
    assert rich.ask(x_forebay_passed="yes", forebay_deployment="default/rich").status_code == 401
    answer = rich.ask(x_api_key="key-of-rich")
    assert (answer.json()["name"], answer.headers["x-forebay-fallback"]) == ("two", "shut")
    assert rich.site.ask("/default/shut/v2", x_api_key="key-of-rich").status_code == 401
    rich.cluster.drop_deployment("shut")


def test_one_that_is_not_ready_yet(rich):
    rich.cluster.put_deployment("young", fallback=ANOTHER)
    wait_for(lambda: rich.site.ask("/default/young/v2").headers["x-forebay-fallback"] == SIMPLE)
    rich.cluster.put_deployment("young", fallback=ANOTHER, suspend=True)
    wait_for(lambda: rich.site.ask("/default/young/v2").headers["x-forebay-reason"] == "suspended")
    rich.cluster.drop_deployment("young")


def test_one_that_is_asleep_is_woken_while_the_fallback_answers(rich):
    rich.cluster.put_workload("rich-1", replicas=0)
    predictor = {**SPEC["predictor"], "autoscaling": {"min": 0, "max": 4}}
    rich.put(predictor=predictor, fallback={**ANOTHER, "after": "100ms"})
    answer = rich.ask()
    assert (answer.json()["name"], answer.headers["x-forebay-fallback"]) == ("two", SIMPLE)
    wait_for(lambda: rich.cluster.count_wanted("rich-1") == 1)
    rich.put("one", predictor=predictor, fallback={**ANOTHER, "after": "100ms"})
    wait_for(lambda: rich.ask().json()["name"] == "one")
    rich.cluster.drop_workload("rich-1")


def test_it_is_counted(rich):
    rich.put(fallback=ANOTHER)
    assert rich.ask().is_success
    labels = 'namespace="default",deployment="rich",fallback="simple",code="200"'
    text = wait_for(lambda: labels in (found := rich.site.get_pilot("/metrics").text) and found, every_s=0.3)
    assert f"forebay_fallbacks_total{{{labels}}}" in text
    assert 'forebay_requests_total{namespace="default",deployment="simple",revision="cccc3333",code="200"}' in text
    assert 'forebay_requests_total{namespace="default",deployment="rich",revision="aaaa1111",code="503"}' in text
    assert 'deployment="rich",revision="",code="200"' not in text


@pytest.fixture(scope="module")
def echo(tmp_path_factory, cluster: Cluster, address: str) -> Iterator[str]:
    """Forebay's own server as the instance of a deployment that clients call by the model's name `echo`."""
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT)
    http_port, grpc_port = find_free_ports(2)
    argv = ["--script", str(script), "--name", "echo", "--role", "predictor", "--host", "0.0.0.0"]
    argv += ["--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    with running([sys.executable, "-m", "forebay.serving", *argv]):
        cluster.put_slice("plain-1", ready(address), port=grpc_port)
        cluster.put_deployment("plain", traffic=[("plain-1", "9999aaaa", 100)], **ONE_NAME)
        yield "plain"


def test_grpc_has_it_where_both_models_have_one_name(rich, echo):
    request = service_pb2.ServerLiveRequest()
    with grpc.insecure_channel(f"{HOST}:{rich.site.data_port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def ask() -> dict[str, str] | str:
            try:
                _, call = stub.ServerLive.with_call(request, metadata=METADATA, timeout=30)
            except grpc.RpcError as error:
                return str(error.code().name)
            return dict(call.initial_metadata())

        rich.put(fallback={"deployment": echo}, **ONE_NAME)
        told = wait_for(lambda: isinstance(found := ask(), dict) and found)
        assert told["x-forebay-fallback"] == echo
        rich.put("full-grpc", fallback={"deployment": echo}, **ONE_NAME)
        assert ask()["x-forebay-fallback"] == echo
        # The name is in the message.
        rich.put("full-grpc", fallback={"deployment": echo})
        assert ask() == "RESOURCE_EXHAUSTED"
        assert "gRPC" in rich.told["fallback"]["note"]
        rich.put(fallback=FIXED)
        assert ask() == "UNAVAILABLE"


def test_a_grpc_stream_has_it_before_its_first_message(rich, echo):
    rich.put(fallback={"deployment": echo}, **ONE_NAME)
    with grpc.insecure_channel(f"{HOST}:{rich.site.data_port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        message = service_pb2.ModelInferRequest(model_name="echo", id="7")
        tensor = message.inputs.add(name="x", datatype="FP32", shape=[1])
        tensor.contents.fp32_contents.append(2.0)

        def ask() -> list[Any]:
            with contextlib.suppress(grpc.RpcError):
                return [
                    each.infer_response.id for each in stub.ModelStreamInfer(iter([message] * 3), metadata=METADATA)
                ]
            return []

        assert wait_for(ask) == ["7", "7", "7"]
