"""Unmodified clients against the gateway: tritonclient over HTTP and gRPC, and JSON as curl sends it."""

import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests import loopback
from tests.local.serving_session import ServingSession, slow_body, slow_grpc, slow_http

HEADER = {"forebay-deployment": "default/slow"}


@pytest.fixture
def rest(two_slow: ServingSession):
    """Tritonclient by path, as its `base path`."""
    with tritonclient.http.InferenceServerClient(two_slow.url.removeprefix("http://"), concurrency=8) as client:
        yield client


@pytest.fixture
def grpc_client(two_slow: ServingSession):
    with tritonclient.grpc.InferenceServerClient(two_slow.record["grpc"]) as client:
        yield client


@pytest.mark.parametrize("kind", ["rest", "grpc_client"])
def test_metadata_and_health(request, kind):
    client = request.getfixturevalue(kind)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("slow")
    assert not client.is_model_ready("fast")
    options = {"as_json": True} if kind == "grpc_client" else {}
    assert client.get_server_metadata(**options)["name"] == "triton"
    metadata = client.get_model_metadata("slow", **options)
    assert [each["name"] for each in metadata["inputs"]] == ["seconds"]
    config = client.get_model_config("slow", **options)
    assert config.get("config", config)["backend"] == "python"
    assert client.get_inference_statistics("slow", **options)


@pytest.mark.parametrize("binary", [True, False])
def test_infer_over_rest(rest, binary):
    each = tritonclient.http.InferInput("seconds", [2], "FP32")
    each.set_data_from_numpy(np.array([0.01, 0.02], np.float32), binary_data=binary)
    wanted = tritonclient.http.InferRequestedOutput("slept", binary_data=binary)
    result = rest.infer("slow", [each], outputs=[wanted], request_id="a")
    assert result.get_response()["id"] == "a"
    np.testing.assert_allclose(result.as_numpy("slept"), [0.01, 0.02])


def test_infer_over_grpc(grpc_client):
    for headers in (None, HEADER):
        result = grpc_client.infer("slow", slow_grpc(0.01), headers=headers)
        np.testing.assert_allclose(result.as_numpy("slept"), [0.01])


def test_a_grpc_stream(grpc_client):
    answers: list[object] = []
    done = threading.Event()

    def take(result, error) -> None:
        answers.append(error or result.as_numpy("slept").item())
        if len(answers) == 3:
            done.set()

    grpc_client.start_stream(take)
    for _ in range(3):
        grpc_client.async_stream_infer("slow", slow_grpc(0.05))
    assert done.wait(10)
    grpc_client.stop_stream()
    assert answers == pytest.approx([0.05] * 3)


def test_errors_are_tritons_own(rest, grpc_client):
    for client, inputs in ((rest, slow_http(0.01)), (grpc_client, slow_grpc(0.01))):
        with pytest.raises(InferenceServerException, match="unknown model: 'fast'"):
            client.infer("fast", inputs)
    wrong = tritonclient.http.InferInput("minutes", [1], "FP32")
    wrong.set_data_from_numpy(np.zeros(1, np.float32))
    with pytest.raises(InferenceServerException, match="minutes"):
        rest.infer("slow", [wrong])


def test_curl_with_json(two_slow):
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", f"{two_slow.url}/v2/models/slow/infer", "-d", json.dumps(slow_body(0.25))],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["outputs"][0]["data"] == [0.25]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/default/slow/v2/models/slow/infer", {}),
        ("/v2/models/slow/infer", {"host": "slow.default.example.com"}),
        ("/v2/models/slow/infer", {"host": "slow.default"}),
        ("/v2/models/slow/infer", HEADER),
        ("/v2/models/slow/infer", {}),  # it is the only one
    ],
)
def test_ways_to_a_deployment(two_slow, path, headers):
    url = f"http://{two_slow.record['grpc']}{path}"
    answer = loopback.post(url, json=slow_body(0.01), headers=headers)
    assert answer.status_code == 200, answer.text


def test_grpc_by_authority(two_slow):
    options = [("grpc.default_authority", "slow.default.example.com")]
    with tritonclient.grpc.InferenceServerClient(two_slow.record["grpc"], channel_args=options) as client:
        assert client.infer("slow", slow_grpc(0.01)).as_numpy("slept").size == 1


def test_a_large_body_passes(two_slow):
    values = np.zeros(4_000_000, np.float32)  # 16 MB
    each = tritonclient.http.InferInput("seconds", [values.size], "FP32")
    each.set_data_from_numpy(values)
    with tritonclient.http.InferenceServerClient(two_slow.url.removeprefix("http://"), network_timeout=60) as client:
        assert client.infer("slow", [each]).as_numpy("slept").size == values.size


def test_a_body_beyond_the_limit_is_refused(two_slow):
    with loopback.build_client(timeout=60) as client:
        answer = client.post(two_slow.url + "/v2/models/slow/infer", content=b"0" * (65 * 1024 * 1024))
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (413, "too-large")
    assert answer.json() == {"error": "the body is larger than 64 MiB", "reason": "too-large"}


def test_a_message_beyond_the_limit_is_refused(grpc_client):
    each = tritonclient.grpc.InferInput("seconds", [17_000_000], "FP32")
    each.set_data_from_numpy(np.zeros(17_000_000, np.float32))
    with pytest.raises(InferenceServerException, match="the body is larger than 64 MiB") as caught:
        grpc_client.infer("slow", [each])
    assert caught.value.status() == "StatusCode.OUT_OF_RANGE"


def test_load_goes_to_both_and_a_full_queue_is_tried_on_the_other(two_slow):
    # Both together hold 4 at work and 6 waiting; 10 at once must all find a place.
    with ThreadPoolExecutor(10) as pool:
        asked = [
            pool.submit(loopback.post, two_slow.url + "/v2/models/slow/infer", json=slow_body(0.3), timeout=30)
            for _ in range(10)
        ]
        assert [each.result().status_code for each in asked] == [200] * 10
