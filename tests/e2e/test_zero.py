"""To zero and back, on a real node: nothing runs while nobody asks, and the next request waits for what it needs."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import aiohttp
import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.e2e import installation
from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.models import (
    DOUBLER,
    build,
    build_doubler,
    describe,
    find_condition,
    list_events,
    list_pods,
    make_lean,
    read_status,
    wait_ready,
)

pytestmark = pytest.mark.timeout(600)

Json = dict[str, Any]
NAMESPACE = "test-zero"
# Of each kind.
BURST = 500
CALLS_AT_ONCE = 50
START_S = 150.0
TRANSFORMER = """
import numpy as np


class Transformer:
    def preprocess(self, payload):
        return {"x": np.array(payload["x"], np.float32)}

    def postprocess(self, outputs):
        return {"y": outputs["y"].tolist()}
"""


def scale_to_zero(**cold_start: object) -> Json:
    return {"min": 0, "max": 2, "idle": "5s", "coldStart": {"timeout": "2m", **cold_start}}


@pytest.fixture(scope="module")
def zero(namespace: Kubectl, gateway: str) -> Kubectl:
    """`zero`, of a predictor and two instances of a transformer, and `short`, whose requests don't wait for long."""
    transformer = make_lean({"custom": {"script": TRANSFORMER}, "replicas": 2}, downloads=False)
    predictor = {"custom": {"script": DOUBLER}, "autoscaling": scale_to_zero()}
    namespace.apply(
        build("zero", predictor=predictor, transformer=transformer),
        build_doubler("short", autoscaling=scale_to_zero(timeout="5s")),
    )
    wait_ready(namespace, "zero", "short")
    return namespace


def wait_asleep(kubectl: Kubectl, name: str) -> None:
    """Until it says so, and no pod of it is left."""

    def is_asleep() -> bool:
        condition = find_condition(read_status(kubectl, name))
        selector = f"--selector=app.kubernetes.io/instance={name}"
        return condition.get("reason") == "Asleep" and not kubectl.get("pods", selector)["items"]

    eventually(is_asleep, timeout_s=180, explain=lambda: describe(kubectl, name))
    status = read_status(kubectl, name)
    assert find_condition(status)["status"] == find_condition(status, "Available")["status"] == "True"
    assert status["instances"] == "0/0"


def count_held(kubectl: Kubectl, name: str) -> int:
    """Requests that wait, at all pods of the gateway."""
    held = 0
    for pod in installation.list_pods(kubectl, "gateway"):
        answer = httpx.get(f"http://{pod['status']['podIP']}:9090/idle", trust_env=False, timeout=10)
        if answer.is_success:
            held += int(answer.json()["idle"].get(f"{NAMESPACE}/{name}", {"held": 0})["held"])
    return held


def find_ready_s(kubectl: Kubectl, name: str) -> float:
    """When the last of those instances was ready that were ready first, one of each component."""
    firsts = []
    for role in ("predictor", "transformer"):
        conditions = [find_condition(each["status"]) for each in list_pods(kubectl, name, role)]
        times = [each["lastTransitionTime"] for each in conditions if each.get("status") == "True"]
        firsts.append(min(datetime.fromisoformat(each).timestamp() for each in times))
    return max(firsts)


class Burst:
    """Requests that all begin at once: what became of each, and when each ended."""

    def __init__(self, gateway: str, name: str) -> None:
        self._gateway, self._name = gateway, name
        self.seen: Counter[str] = Counter()
        self.ended_s: list[float] = []

    async def send(self, each: int) -> None:
        timeout, many = aiohttp.ClientTimeout(total=START_S), aiohttp.TCPConnector(limit=0)
        clients = [triton_aio.InferenceServerClient(self._gateway) for _ in range(-(-each // CALLS_AT_ONCE))]
        try:
            async with aiohttp.ClientSession(connector=many, timeout=timeout) as session:
                rest = [self._note("rest", self._ask(session)) for _ in range(each)]
                calls = [self._note("grpc", self._call(clients[number % len(clients)])) for number in range(each)]
                await asyncio.gather(*rest, *calls)
        finally:
            await asyncio.gather(*(client.close() for client in clients))

    async def _note(self, kind: str, way: Awaitable[str]) -> None:
        try:
            said = await way
        except (aiohttp.ClientError, TimeoutError, InferenceServerException, grpc.RpcError, OSError) as error:
            said = repr(error)
        self.seen[f"{kind} {said}"] += 1
        self.ended_s.append(time.time())

    async def _ask(self, session: aiohttp.ClientSession) -> str:
        url = f"http://{self._gateway}/{NAMESPACE}/{self._name}/predict"
        async with session.post(url, json={"x": [[1, 2]]}) as answer:
            text = await answer.text()
            if answer.status == 200:
                return str((await answer.json())["y"])
            return f"{answer.status} {answer.headers.get('x-forebay-reason')} {text[:200]}"

    async def _call(self, client: triton_aio.InferenceServerClient) -> str:
        given = triton.InferInput("x", [1, 2], "FP32")
        given.set_data_from_numpy(np.array([[1, 2]], np.float32))
        headers = {"forebay-deployment": f"{NAMESPACE}/{self._name}"}
        found = await client.infer(self._name, [given], headers=headers, client_timeout=START_S)
        return str(found.as_numpy("y").tolist())


def ask_short(gateway: str) -> httpx.Response:
    url = f"http://{gateway}/{NAMESPACE}/short/v2/models/short/infer"
    body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    return httpx.post(url, json=body, trust_env=False, timeout=START_S)


def call_short(gateway: str) -> str:
    """What a gRPC client is told that isn't answered."""
    given = triton.InferInput("x", [1, 2], "FP32")
    given.set_data_from_numpy(np.array([[1, 2]], np.float32))
    headers = {"forebay-deployment": f"{NAMESPACE}/short"}
    with triton.InferenceServerClient(gateway) as client:
        try:
            client.infer("short", [given], headers=headers, client_timeout=START_S)
        except InferenceServerException as error:
            return f"{error.status()}: {error.message()}"
    return ""


@contextmanager
def cordoned(kubectl: Kubectl) -> Iterator[None]:
    """No pod finds a node."""
    (node,) = kubectl.get("nodes")["items"]
    kubectl("cordon", node["metadata"]["name"])
    try:
        yield
    finally:
        kubectl("uncordon", node["metadata"]["name"])


@contextmanager
def without_operator(kubectl: Kubectl) -> Iterator[None]:
    system = kubectl.within(installation.SYSTEM)
    scale = ("scale", "deployment/forebay-operator")
    system(*scale, "--replicas=0")
    try:
        eventually(lambda: not installation.list_pods(kubectl, "operator"), timeout_s=90)
        yield
    finally:
        system(*scale, "--replicas=2")
        system("rollout", "status", "deployment/forebay-operator", "--timeout=90s", timeout_s=100)


def test_a_burst_of_a_thousand_wakes_it_and_none_is_lost(zero: Kubectl, gateway: str) -> None:
    wait_asleep(zero, "zero")
    burst = Burst(gateway, "zero")
    asyncio.run(burst.send(BURST))
    # Before it sleeps again.
    ready_s = find_ready_s(zero, "zero")
    assert burst.seen == {"rest [[2.0, 4.0]]": BURST, "grpc [[2.0, 4.0]]": BURST}, (burst.seen, describe(zero, "zero"))
    # Kubernetes tells it by the second.
    beyond_s = sorted(each - ready_s for each in burst.ended_s)
    slow_s = statistics.quantiles(beyond_s, n=20)[-1]
    print(f"after the instances were ready: p50 {statistics.median(beyond_s):.2f} s, p95 {slow_s:.2f} s")
    # The fixed number of transformers came back, too.
    eventually(lambda: len(list_pods(zero, "zero", "transformer")) == 2, timeout_s=60)
    told = {each["reason"]: each["message"] for each in list_events(zero, "zero")}
    assert told["Asleep"] == "asleep since no request came for 5s: the next one wakes it"
    assert told["Woken"].startswith("woken by a request after "), told
    wait_asleep(zero, "zero")


def test_where_none_starts_each_request_ends_in_time_with_its_reason(zero: Kubectl, gateway: str) -> None:
    wait_asleep(zero, "short")
    with cordoned(zero), ThreadPoolExecutor(40) as pool:
        asked: list[Future[httpx.Response]] = [pool.submit(ask_short, gateway) for _ in range(20)]
        called = [pool.submit(call_short, gateway) for _ in range(20)]
        for each in asked:
            answer = each.result(60)
            assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "cold-start-timeout"), answer.text
            assert int(answer.headers["retry-after"]) > 0
            assert "no instance of short was ready within 5 s" in answer.json()["error"]
            # In time: what is beyond is this machine's.
            assert 4 < answer.elapsed.total_seconds() < 20
        for each_call in called:
            said = each_call.result(60)
            assert said.startswith("StatusCode.UNAVAILABLE: no instance of short was ready"), said
        # While requests wait it may still come; then it is told why it doesn't.
        eventually(
            lambda: find_condition(read_status(zero, "short")).get("reason") == "Unschedulable",
            timeout_s=60, explain=lambda: describe(zero, "short"),
        )  # fmt: skip
        assert find_condition(read_status(zero, "short"))["status"] == "False"
    wait_ready(zero, "short")
    assert ask_short(gateway).status_code == 200
    wait_asleep(zero, "short")


def test_no_operator_is_needed_to_be_woken(zero: Kubectl, gateway: str) -> None:
    wait_asleep(zero, "zero")
    with without_operator(zero):
        burst = Burst(gateway, "zero")
        asyncio.run(burst.send(5))
        assert burst.seen == {"rest [[2.0, 4.0]]": 5, "grpc [[2.0, 4.0]]": 5}, burst.seen
        assert len(list_pods(zero, "zero", "transformer")) == 1, "as many as wake it"
    eventually(lambda: len(list_pods(zero, "zero", "transformer")) == 2, timeout_s=90)
    wait_asleep(zero, "zero")


def test_who_is_held_by_a_pod_of_the_gateway_that_ends_is_told_to_ask_again(zero: Kubectl, gateway: str) -> None:
    """The other pod's notice nothing. Nobody is left without an answer, and whoever asks again gets the right one."""
    wait_asleep(zero, "zero")
    url, number = f"http://{gateway}/{NAMESPACE}/zero/predict", 40

    def ask() -> httpx.Response:
        # A connection of its own each, so that both pods get some.
        return httpx.post(url, json={"x": [[1, 2]]}, trust_env=False, timeout=START_S)

    with ThreadPoolExecutor(number) as pool:
        with cordoned(zero):
            held = [pool.submit(ask) for _ in range(number)]
            eventually(lambda: count_held(zero, "zero") == number, timeout_s=60)
            (first, *_) = installation.list_pods(zero, "gateway")
            system = zero.within(installation.SYSTEM)
            system("delete", "pod", first["metadata"]["name"], "--timeout=60s", timeout_s=70)
        answers = [each.result(START_S) for each in held]
    away = [each for each in answers if each.status_code != 200]
    assert {(each.status_code, each.headers.get("x-forebay-reason")) for each in away} <= {(503, "pilot-away")}, away
    assert {each.headers.get("retry-after") for each in away} <= {"1"}
    print(f"{len(away)} of {number} were told to ask again")
    assert all(ask().status_code == 200 for _ in away)
    eventually(lambda: len(installation.list_pods(zero, "gateway")) == 2, timeout_s=60)
    system("rollout", "status", "deployment/forebay-gateway", "--timeout=90s", timeout_s=100)
    wait_asleep(zero, "zero")
