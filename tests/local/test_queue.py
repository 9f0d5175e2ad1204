"""The queue in front of a real Triton: bounded, first come first served, one for REST and gRPC."""

import contextlib
import json
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest
import tritonclient.grpc
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from tests import loopback
from tests.local.serving_session import ServingSession, slow_body, slow_grpc

INFER = "/v2/models/slow/infer"


def ask(url: str, seconds: float) -> httpx.Response:
    return loopback.post(url + INFER, json=slow_body(seconds), timeout=30)


def ask_grpc(address: str, seconds: float) -> str:
    """The status with which the server answered."""
    with tritonclient.grpc.InferenceServerClient(address) as client:
        try:
            client.infer("slow", slow_grpc(seconds))
        except InferenceServerException as error:
            return error.status()
    return "StatusCode.OK"


def wait_until_idle(session: ServingSession) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if value(session, "forebay_queue_in_flight") == 0:
            return
        time.sleep(0.2)
    raise AssertionError(session.metrics())


def value(session: ServingSession, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(session.metrics())
    found = [s for f in families for s in f.samples if s.name == name and labels.items() <= s.labels.items()]
    assert found, f"{name} {labels} is not among the metrics"
    return sum(sample.value for sample in found)


def test_rest_and_grpc_share_two_slots_and_three_places(one_slow):
    with ThreadPoolExecutor(8) as pool:
        rest = [pool.submit(ask, one_slow.url, 0.5) for _ in range(4)]
        other = [pool.submit(ask_grpc, one_slow.record["grpc"], 0.5) for _ in range(4)]
        codes = [each.result().status_code for each in rest] + [each.result() for each in other]
    served = codes.count(200) + codes.count("StatusCode.OK")
    refused = codes.count(429) + codes.count("StatusCode.RESOURCE_EXHAUSTED")
    assert (served, refused) == (5, 3), codes


def test_a_refusal_says_why_and_when_to_come_back(one_slow):
    wait_until_idle(one_slow)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, one_slow.url, 0.5) for _ in range(8)]
        refused = [each.result() for each in asked if each.result().status_code != 200]
    assert refused
    for answer in refused:
        assert answer.status_code == 429
        assert answer.headers["x-forebay-reason"] == "queue-full"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json() == {
            "error": "the queue of this instance is full: try again later",
            "reason": "queue-full",
        }


def test_what_is_not_answered_in_time_gets_504(one_slow):
    wait_until_idle(one_slow)
    answer = ask(one_slow.url, 3)
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (504, "timeout")
    assert "queue.timeout" in answer.json()["error"]
    assert ask_grpc(one_slow.record["grpc"], 3) == str(grpc.StatusCode.DEADLINE_EXCEEDED)
    time.sleep(2)  # Triton still works on what was given up


def test_first_come_first_served(one_slow):
    wait_until_idle(one_slow)
    host, port = one_slow.record["grpc"].split(":")
    body = json.dumps(slow_body(0.5)).encode()
    request = f"POST {INFER} HTTP/1.1\r\nhost: slow.default\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    # One thread that sends, so that no scheduler changes the order.
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(5)]
        for client in clients:
            client.sendall(request)
            time.sleep(0.1)
        waiting, done = list(clients), []
        while waiting:
            answered, _, _ = select.select(waiting, [], [], 10)
            assert answered, "nobody is answered any more"
            for client in answered:
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
                waiting.remove(client)
                done.append(clients.index(client))
    assert set(done[:2]) == {0, 1}
    assert set(done[2:4]) == {2, 3}
    assert done[4] == 4


def test_who_leaves_frees_the_place(one_slow):
    wait_until_idle(one_slow)
    with ThreadPoolExecutor(5) as pool:
        for _ in range(5):
            pool.submit(loopback.post, one_slow.url + INFER, json=slow_body(0.3), timeout=0.1)
        time.sleep(0.3)
    wait_until_idle(one_slow)
    assert ask(one_slow.url, 0.01).status_code == 200


def test_a_slow_upload_takes_no_slot(one_slow):
    wait_until_idle(one_slow)
    front = httpx.URL(one_slow.front("predictor-0"))
    with contextlib.ExitStack() as stack:
        for path in (INFER, "/v2/models/slow/generate_stream"):
            for _ in range(2):
                connection = stack.enter_context(socket.create_connection((front.host, front.port)))
                connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{{".encode())
        time.sleep(0.3)
        assert ask(one_slow.url, 0.01).status_code == 200, "and not 504, as by one that waits"


def test_health_and_metadata_pass_a_full_queue(one_slow):
    wait_until_idle(one_slow)
    with ThreadPoolExecutor(5) as pool:
        for _ in range(5):
            pool.submit(ask, one_slow.url, 0.5)
        time.sleep(0.2)
        assert loopback.get(one_slow.url + "/v2/health/ready").status_code == 200
        assert loopback.get(one_slow.url + "/v2/models/slow").json()["name"] == "slow"


def test_metrics_have_stable_names(one_slow):
    wait_until_idle(one_slow)
    rejected = {"name": "forebay_queue_rejected_total", "reason": "queue-full"}
    before, waited = value(one_slow, **rejected), value(one_slow, "forebay_queue_wait_seconds_sum")
    started, stop = time.monotonic(), threading.Event()

    def keep_asking() -> int:
        refused = 0
        while not stop.is_set():
            refused += ask(one_slow.url, 0.3).status_code == 429
            time.sleep(0.02)
        return refused

    seen = set()
    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(keep_asking) for _ in range(8)]
        while time.monotonic() < started + 20 and (2, 3) not in seen:
            seen.add((value(one_slow, "forebay_queue_in_flight"), value(one_slow, "forebay_queue_queued")))
        stop.set()
        refused = sum(each.result() for each in asking)
    assert (2, 3) in seen
    wait_until_idle(one_slow)
    lasted = time.monotonic() - started
    # Envoy adds up its times every 5 s.
    while time.monotonic() < started + 40 and value(one_slow, "forebay_queue_wait_seconds_sum") - waited <= 0.3:
        time.sleep(0.2)
    assert value(one_slow, **rejected) - before == refused
    assert 0.3 < value(one_slow, "forebay_queue_wait_seconds_sum") - waited < 3 * lasted, "three wait at most"
    assert value(one_slow, "forebay_queue_slots") == 2
    assert value(one_slow, "forebay_queue_depth") == 3


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/index",
        "/v2/repository/models/slow/unload",
        "/v2/models/slow/trace/setting",
        "/v2/trace/setting",
        "/v2/logging",
        "/v2/systemsharedmemory/status",
        "/v2/systemsharedmemory/region/x/register",
        "/v2/cudasharedmemory/status",
        "/v2/models/../repository/index",
        "/v2//repository/index",
        "/v2/models/%2e%2e/repository/index",
        "/V2/repository/index",
        "/metrics",
    ],
)
def test_what_is_not_inference_is_not_let_through(one_slow, path):
    for base in (one_slow.url, one_slow.front("predictor-0")):
        for method in ("GET", "POST"):
            # As written: httpx would tidy the dots itself.
            url = httpx.URL(base).copy_with(raw_path=(httpx.URL(base).path.rstrip("/") + path).encode())
            answer = loopback.request(method, url)
            assert answer.status_code in (400, 404), (method, url, answer.text)


def test_grpc_services_that_are_not_inference_are_not_let_through(one_slow):
    address = one_slow.record["grpc"]
    with tritonclient.grpc.InferenceServerClient(address) as client:
        for call in (
            client.get_model_repository_index,
            client.get_system_shared_memory_status,
            client.get_cuda_shared_memory_status,
            client.get_trace_settings,
            client.get_log_settings,
            lambda: client.unload_model("slow"),
        ):
            with pytest.raises(InferenceServerException) as caught:
                call()
            assert caught.value.status() == str(grpc.StatusCode.UNIMPLEMENTED)
