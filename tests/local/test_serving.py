"""The serving runtime as a process, and real clients of it."""

import asyncio
import contextlib
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import grpc
import httpx
import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_aio
import tritonclient.http as triton_http
from PIL import Image
from tritonclient.grpc.service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    GRPCInferenceServiceStub,
    add_GRPCInferenceServiceServicer_to_server,
)
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from forebay.local.ports import find_free_ports
from forebay.serving.protobuf import encode_request
from tests import loopback

START_TIMEOUT_S = 30

ECHO = """
    class Echo:
        def predict(self, inputs, request):
            if request.parameters.get("fail"):
                raise RuntimeError("the secret reason")
            if request.parameters.get("exit"):
                raise SystemExit(1)
            if request.parameters.get("stop"):
                next(iter(()))
            return inputs
"""
DIGITS = """
    import time
    from forebay.serving import BadRequest, Tensor

    class Digits:
        inputs = [Tensor("image", "FP32", [-1, 4])]
        outputs = [Tensor("scores", "FP32", [-1, 2])]

        def predict(self, inputs, request):
            if inputs["image"].min() < 0:
                raise BadRequest("image must not be negative")
            time.sleep(float(request.headers.get("x-sleep", "0")))
            return inputs["image"][:, :2] * 2.0
"""
TRANSFORMER = """
    import io
    import numpy as np
    from PIL import Image

    class DigitsTransformer:
        async def preprocess(self, payload, request):
            request.state["kind"] = request.content_type
            if isinstance(payload, dict) and isinstance(payload.get("image"), np.ndarray):
                return payload
            if isinstance(payload, bytes):
                payload = [np.asarray(Image.open(io.BytesIO(payload))).reshape(-1)]
            if isinstance(payload, dict):
                payload = payload["rows"]
            return {"image": np.asarray(payload, np.float32)}

        def postprocess(self, outputs, request):
            if request.protocol == "v2":
                return outputs
            return {"scores": outputs["scores"][0], "kind": request.state["kind"], "more": dict(request.parameters)}
"""


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen
    http_port: int
    grpc_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def client(self, **options) -> httpx.Client:
        return loopback.build_client(base_url=self.url, timeout=20, **options)

    def get(self, path: str) -> httpx.Response:
        with self.client() as client:
            return client.get(path)

    def post(self, path: str, **options) -> httpx.Response:
        with self.client() as client:
            return client.post(path, **options)

    def wait_ready(self) -> None:
        self.wait_for(lambda: self.get("/v2/health/ready").status_code == 200)

    def wait_for(self, condition) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                if condition():
                    return
            time.sleep(0.02)
        pytest.fail(f"nothing happened in {START_TIMEOUT_S} s: {self.log.read_text()}")


@contextlib.contextmanager
def serving(folder: Path, script: str, *flags: str, role: str = "predictor", wait: bool = True):
    folder.mkdir(exist_ok=True)
    path = folder / f"{role}.py"
    path.write_text(dedent(script))
    http_port, grpc_port = find_free_ports(2)
    log = folder / f"{role}.log"
    command = [sys.executable, "-m", "forebay.serving", "--script", path, "--name", "digits", "--role", role]
    command += ["--http-port", str(http_port), "--grpc-port", str(grpc_port), *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    server = Server(process, http_port, grpc_port, log)
    try:
        if wait:
            server.wait_ready()
        yield server
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("echo"), ECHO) as server:
        yield server


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("digits"), DIGITS) as server:
        yield server


@pytest.fixture(scope="module")
def transformer(digits, tmp_path_factory):
    flags = ("--predictor", f"127.0.0.1:{digits.grpc_port}")
    with serving(tmp_path_factory.mktemp("transformer"), TRANSFORMER, *flags, role="transformer") as server:
        yield server


def tensor(client, array, name="image", **options):
    value = client.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    value.set_data_from_numpy(array, **options)
    return value


IMAGE = np.array([[1, 2, 3, 4]], np.float32)
ARRAYS = [
    np.array([True, False]),
    *(np.array([[0, 1], [2, 127]], dtype) for dtype in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")),
    np.array([2**64 - 1], np.uint64),
    *(np.array([0.5, -2], dtype) for dtype in (np.float16, np.float32, np.float64)),
    np.array([b"text", b"\xc3\xa9", b""], np.object_),
    np.zeros((0, 3), np.float32),
]
BINARY_ONLY = [
    np.array([1.5, -3], ml_dtypes.bfloat16),
    np.array([b"\xff\0", b"\0"], np.object_),
    np.array([np.nan, np.inf], np.float32),
]


@pytest.mark.parametrize("array", ARRAYS + BINARY_ONLY, ids=lambda array: str(array.dtype))
def test_every_datatype_in_binary_over_rest_and_in_grpc(echo, array):
    with triton_http.InferenceServerClient(f"127.0.0.1:{echo.http_port}") as client:
        over_rest = client.infer("digits", [tensor(triton_http, array, "x")]).as_numpy("x")
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{echo.grpc_port}") as client:
        over_grpc = client.infer("digits", [tensor(triton_grpc, array, "x")]).as_numpy("x")
    for back in (over_rest, over_grpc):
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_every_datatype_in_json(echo, array):
    outputs = [triton_http.InferRequestedOutput("x", binary_data=False)]
    with triton_http.InferenceServerClient(f"127.0.0.1:{echo.http_port}") as client:
        answer = client.infer("digits", [tensor(triton_http, array, "x", binary_data=False)], outputs=outputs)
    back = answer.as_numpy("x")
    if array.dtype == object:
        back = np.array([item.encode() for item in back], object)
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(echo, algorithm):
    with triton_http.InferenceServerClient(f"127.0.0.1:{echo.http_port}") as client:
        answer = client.infer("digits", [tensor(triton_http, IMAGE)], request_compression_algorithm=algorithm)
    np.testing.assert_array_equal(answer.as_numpy("image"), IMAGE)


def test_a_gzip_bomb_is_refused(tmp_path):
    with serving(tmp_path, ECHO, "--max-request-mib", "1") as server:
        bomb = gzip.compress(b" " * (8 * 2**20))
        answer = server.post("/v2/models/digits/infer", content=bomb, headers={"content-encoding": "gzip"})
        assert answer.status_code == 413
        assert server.post("/predict", content=b" " * (2 * 2**20)).status_code == 413
        assert server.post("/predict", content=b"x", headers={"content-encoding": "gzip"}).status_code == 400


def test_tritonclients_other_questions(digits):
    with triton_http.InferenceServerClient(f"127.0.0.1:{digits.http_port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("digits", "1")
        assert not client.is_model_ready("other")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        metadata = client.get_model_metadata("digits", "1")
        assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 4]}]
        assert client.get_model_config("digits")["output"][0]["data_type"] == "TYPE_FP32"
        assert client.get_model_repository_index()[0]["state"] == "READY"
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{digits.grpc_port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("digits", "1")
        assert client.get_server_metadata().name == "forebay"
        assert list(client.get_model_metadata("digits").outputs[0].shape) == [-1, 2]
        assert client.get_model_config("digits").config.input[0].name == "image"
        assert client.get_model_repository_index().models[0].state == "READY"
        with pytest.raises(InferenceServerException, match=r"NOT_FOUND.*unknown model 'other'"):
            client.get_model_metadata("other")


def test_a_bad_request_says_what_was_expected(digits):
    wrong = np.zeros((1, 3), np.float32)
    message = r"input 'image': expected FP32 \[-1, 4\], got FP32 \[1, 3\]"
    with (
        triton_http.InferenceServerClient(f"127.0.0.1:{digits.http_port}") as client,
        pytest.raises(InferenceServerException, match=f"400.*{message}"),
    ):
        client.infer("digits", [tensor(triton_http, wrong)])
    with (
        triton_grpc.InferenceServerClient(f"127.0.0.1:{digits.grpc_port}") as client,
        pytest.raises(InferenceServerException, match=f"INVALID_ARGUMENT.*{message}"),
    ):
        client.infer("digits", [tensor(triton_grpc, wrong)])
    answer = digits.post("/v1/models/digits:predict", json={"instances": [[-1, 0, 0, 0]]})
    assert (answer.status_code, answer.json()) == (400, {"error": "image must not be negative"})
    for path in ("/v2/models/other/infer", "/v2/models/digits/versions/2/infer", "/nowhere"):
        answer = digits.post(path, json={})
        assert answer.status_code == 404
        assert "error" in answer.json()


@pytest.mark.parametrize("way", ["fail", "exit", "stop"])
def test_an_exception_is_a_500_with_an_id_and_its_traceback_is_in_the_log_alone(echo, way):
    parameters = {way: "yes"}
    answer = echo.post("/v1/models/digits:predict", params=parameters, json={"instances": [1]})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    error_id = answer.json()["error"].split()[2].rstrip(":")
    log = echo.log.read_text()
    assert error_id in log
    with (
        triton_grpc.InferenceServerClient(f"127.0.0.1:{echo.grpc_port}") as client,
        pytest.raises(InferenceServerException, match=r"INTERNAL.*internal error [0-9a-f]{12}") as caught,
    ):
        client.infer("digits", [tensor(triton_grpc, IMAGE)], parameters=parameters)
    assert "secret" not in str(caught.value)
    log = echo.log.read_text()
    assert "Traceback" in log
    assert "forebay/serving" not in log.partition("Traceback")[2], "the script's own lines are enough"


def test_v1(digits):
    answer = digits.post("/v1/models/digits:predict", json={"instances": [[1, 2, 3, 4]]})
    assert answer.json() == {"predictions": [[2.0, 4.0]]}
    answer = digits.post("/v1/models/digits:predict", json={"inputs": {"image": [[1, 2, 3, 4]]}})
    assert answer.json() == {"outputs": [[2.0, 4.0]]}
    assert digits.get("/v1/models/digits").json() == {"name": "digits", "ready": True}
    assert digits.get("/v1/models").json() == {"models": ["digits"]}
    assert digits.post("/v1/models/digits:predict", json={"instances": [[1]]}).status_code == 400
    assert digits.post("/v1/models/digits:predict", content=b"{").status_code == 400


def test_predict_of_a_predictor(digits):
    assert digits.post("/predict", json=[[1, 2, 3, 4]]).json() == [[2.0, 4.0]]
    assert digits.post("/predict", json={"instances": [[1, 2, 3, 4]]}).json() == {"predictions": [[2.0, 4.0]]}
    answer = digits.post("/predict", content=b"\x89PNG", headers={"content-type": "image/png"})
    assert answer.status_code == 415
    assert "'image' FP32 [-1, 4]" in answer.json()["error"]


def test_a_predictor_may_take_a_file(tmp_path):
    script = """
        from forebay.serving import Tensor
        class Sizes:
            inputs = [Tensor("file", "BYTES", [-1])]
            outputs = [Tensor("size", "INT64", [-1])]
            def predict(self, inputs): return [len(item) for item in inputs["file"]]
    """
    with serving(tmp_path, script) as server:
        assert server.post("/predict", content=b"12345").json() == [5]


def test_docs_need_no_other_host(digits):
    page = digits.get("/docs").text
    assert "http" not in page
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert asset in page
        assert digits.get(f"/docs/assets/{asset}").status_code == 200
    paths = digits.get("/openapi.json").json()["paths"]
    assert {"/predict", "/v2/models/digits/infer", "/v1/models/digits:predict"} <= paths.keys()
    assert not {"/metrics", "/v2/models/digits/generate_stream"} & paths.keys(), "nothing that would be refused"


def test_docs_with_a_slash_stay_behind_the_path_of_a_gateway(digits):
    assert digits.get("/docs/").headers["location"] == "../docs"


def test_the_examples_of_the_docs_are_answered(tmp_path):
    script = """
        from forebay.serving import Tensor
        class Two:
            inputs = [Tensor("x", "FP32", [-1, 2]), Tensor("name", "BYTES", [-1]), Tensor("on", "BOOL", [-1, 1])]
            def predict(self, inputs): return inputs
    """
    for text in (dedent(script), DIGITS):
        with serving(tmp_path, text) as server:
            for path, operation in server.get("/openapi.json").json()["paths"].items():
                if "post" in operation:
                    example = operation["post"]["requestBody"]["content"]["application/json"]["example"]
                    assert server.post(path, json=example).status_code == 200, (path, example)


def test_metrics(digits):
    digits.post("/predict", json=[[1, 2, 3, 4]])
    text = digits.get("/metrics").text
    assert 'forebay_serving_requests_total{code="200",protocol="raw"}' in text
    assert 'forebay_serving_stage_duration_seconds_count{stage="predict"}' in text
    assert "forebay_serving_ready 1.0" in text
    assert "forebay_serving_requests_in_flight 0.0" in text


def test_sync_code_does_not_block_the_loop(digits):
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(digits.post, "/predict", json=[[1, 2, 3, 4]], headers={"x-sleep": "3"})
        digits.wait_for(lambda: "requests_in_flight 1.0" in digits.get("/metrics").text)
        for _ in range(5):
            assert digits.get("/v2/health/live").status_code == 200
        assert digits.post("/predict", json=[[1, 2, 3, 4]]).status_code == 200
        assert not slow.done()
        assert slow.result().status_code == 200


def test_live_but_not_ready_while_loading(tmp_path):
    script = """
        import pathlib, time
        class Slow:
            def load(self, context):
                while not (context.model_dir / "go").exists():
                    time.sleep(0.02)
                self.scale = int(context.parameters["scale"])
            def predict(self, inputs): return {"y": inputs["x"] * self.scale}
    """
    os.environ["FOREBAY_PARAMETER_SCALE"] = "3"
    try:
        context = serving(tmp_path, script, "--model-dir", str(tmp_path), wait=False)
        server = context.__enter__()
    finally:
        del os.environ["FOREBAY_PARAMETER_SCALE"]
    try:
        server.wait_for(lambda: server.get("/v2/health/live").status_code == 200)
        answer = server.get("/v2/health/ready")
        assert answer.status_code == 503
        assert "still loading" in answer.json()["error"]
        assert server.get("/v2/models/digits/ready").status_code == 503
        answer = server.post("/predict", json={"inputs": {"x": [1]}})
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
            assert client.is_server_live()
            assert not client.is_server_ready()
            with pytest.raises(InferenceServerException, match=r"UNAVAILABLE.*still loading"):
                client.infer("digits", [tensor(triton_grpc, IMAGE, "x")])
        (tmp_path / "go").touch()
        server.wait_ready()
        assert server.post("/predict", json={"inputs": {"x": [1]}}).json() == {"outputs": [3]}
    finally:
        context.__exit__(None, None, None)


def test_sigterm_drains(tmp_path):
    with serving(tmp_path, DIGITS, "--concurrency", "2") as server, ThreadPoolExecutor(5) as threads:
        headers = {"x-sleep": "0.7"}
        # Two at a time: the third waits for a thread as the signal comes.
        accepted = [threads.submit(server.post, "/predict", json=[[1, 2, 3, 4]], headers=headers) for _ in range(3)]
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
            accepted.append(threads.submit(client.infer, "digits", [tensor(triton_grpc, IMAGE)], headers=headers))
            server.wait_for(lambda: "requests_in_flight 4.0" in server.get("/metrics").text)
            server.process.send_signal(signal.SIGTERM)
            server.wait_for(lambda: server.get("/v2/health/ready").status_code == 503)
            assert "shutting down" in server.get("/v2/health/ready").json()["error"]
            assert [answer.result().status_code for answer in accepted[:3]] == [200] * 3
            assert accepted[3].result().as_numpy("scores").tolist() == [[2.0, 4.0]]
        assert server.process.wait(10) == 0


def test_shutdown_is_bounded(tmp_path):
    with serving(tmp_path, DIGITS, "--shutdown-timeout", "0.5") as server, ThreadPoolExecutor(1) as threads:
        stuck = threads.submit(server.post, "/predict", json=[[1, 2, 3, 4]], headers={"x-sleep": "60"})
        server.wait_for(lambda: "requests_in_flight 1.0" in server.get("/metrics").text)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0
        assert stuck.result().status_code == 503
        assert "shutting down" in stuck.result().json()["error"]
        assert "1 requests did not end in 0.5 s" in server.log.read_text()


def test_sigterm_while_loading(tmp_path):
    script = "import time\nclass A:\n  def load(self): time.sleep(600)\n  def predict(self, i): pass"
    with serving(tmp_path, script, wait=False) as server:
        server.wait_for(lambda: server.get("/v2/health/live").status_code == 200)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0


@pytest.mark.parametrize(
    ("script", "status", "message"),
    [
        ("class A:\n  def predict(self, x) return 1", 2, "predictor.py:2: expected ':'"),
        ("import cv9", 2, f" pip install --python {sys.executable} cv9"),
        ("x = 1", 2, "no class with predict"),
        ("class A:\n  def predict(self, i): pass\nclass B(object):\n  def predict(self, i): pass", 2, "A, B"),
        ("class A:\n  def load(self): open('/no/such')\n  def predict(self, i): pass", 3, "FileNotFoundError"),
    ],
)
def test_scripts_that_cannot_be_served(tmp_path, script, status, message):
    with serving(tmp_path, script, wait=False) as server:
        assert server.process.wait(START_TIMEOUT_S) == status
        log = server.log.read_text()
        assert message in log
        assert ("Traceback" in log) == (status == 3)


def test_a_taken_port_is_said(tmp_path, digits):
    flags = ("--http-port", str(digits.http_port))
    with serving(tmp_path, DIGITS, *flags, wait=False) as server:
        assert server.process.wait(START_TIMEOUT_S) == 1
        assert "cannot listen" in server.log.read_text()


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[1, 2], [3, 4]], np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_transformer_takes_what_users_have(transformer):
    answer = transformer.post("/predict?size=2", content=png(), headers={"content-type": "image/png"})
    assert answer.json() == {"scores": [2.0, 4.0], "kind": "image/png", "more": {"size": "2"}}
    form = {"files": {"file": ("a.png", png(), "image/png")}, "data": {"note": "hi"}}
    assert transformer.post("/predict", **form).json() == {
        "scores": [2.0, 4.0],
        "kind": "image/png",
        "more": {"note": "hi"},
    }
    answer = transformer.post("/predict", json={"rows": [[1, 2, 3, 4]]})
    assert answer.json()["scores"] == [2.0, 4.0]
    answer = transformer.post("/v1/models/digits:predict", json={"instances": [[1, 2, 3, 4]]})
    assert answer.json()["predictions"]["scores"] == [2.0, 4.0]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', "multipart/form-data; boundary=x"),
        (b"{", "application/json"),
        (b"[NaN]", "application/json"),
        (b"\xff", "application/json; charset=utf-8"),
    ],
)
def test_bodies_that_cannot_be_read(transformer, content, content_type):
    answer = transformer.post("/predict", content=content, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_transformer_speaks_v2_too(transformer):
    with triton_http.InferenceServerClient(f"127.0.0.1:{transformer.http_port}") as client:
        scores = client.infer("digits", [tensor(triton_http, IMAGE)]).as_numpy("scores")
        assert client.get_model_metadata("digits")["platform"] == "forebay_transformer"
    assert scores.tolist() == [[2.0, 4.0]]
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{transformer.grpc_port}") as client:
        scores = client.infer("digits", [tensor(triton_grpc, IMAGE)], parameters={"a": 1}).as_numpy("scores")
        assert scores.tolist() == [[2.0, 4.0]]
        with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.*must not be negative"):
            client.infer("digits", [tensor(triton_grpc, -IMAGE)])


def test_a_transformer_with_postprocess_alone(digits, tmp_path):
    script = """
        class Label:
            def postprocess(self, outputs, request):
                return outputs if request.protocol == "v2" else outputs["scores"].argmax(axis=1)
    """
    flags = ("--predictor", f"127.0.0.1:{digits.grpc_port}")
    with serving(tmp_path, script, *flags, role="transformer") as server:
        assert server.post("/predict", json={"instances": [[1, 2, 3, 4]]}).json() == [1]
        answer = server.post("/v1/models/digits:predict", json={"instances": [[1, 2, 3, 4]]})
        assert answer.json() == {"predictions": [1]}
        assert server.get("/v2/models/digits").json()["inputs"][0]["name"] == "image"


def test_what_a_transformer_makes_is_not_its_clients_fault(digits, tmp_path):
    script = """
        import numpy as np

        class Narrow:
            async def preprocess(self, payload, request):
                if request.protocol == "v2":
                    return payload
                return {"image": np.asarray(payload["rows"], np.float32)[:, :3]}
    """
    flags = ("--predictor", f"127.0.0.1:{digits.grpc_port}")
    with serving(tmp_path, script, *flags, role="transformer") as server:
        answer = server.post("/predict", json={"rows": [[1, 2, 3, 4]]})
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (500, "transformer-misfit")
        told = "preprocess of the transformer made 'image' FP32 [1, 3], and model digits takes 'image' FP32 [-1, 4]"
        assert told in answer.json()["error"]
        assert told in server.log.read_text()
        # What a client sent itself, and what it sent of the right form, is its own fault.
        given = [
            {"name": "image", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
            {"name": "image", "shape": [1, 4], "datatype": "FP32", "data": [-1, 2, 3, 4]},
        ]
        for each, message in zip(given, ("expected FP32 [-1, 4], got", "must not be negative"), strict=True):
            answer = server.post("/v2/models/digits/infer", json={"inputs": [each]})
            assert answer.status_code == 400
            assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            'model_inputs = [Tensor("image", "FP32", [-1, 8, 8])]',
            "the transformer's model_inputs are 'image' FP32 [-1, 8, 8], and model digits takes 'image' FP32 [-1, 4]",
        ),
        (
            'model_outputs = [Tensor("label", "INT64", [-1])]',
            "the transformer's model_outputs are 'label' INT64 [-1], and model digits gives 'scores' FP32 [-1, 2]",
        ),
    ],
)
def test_a_transformer_for_another_model_does_not_start(digits, tmp_path, declared, message):
    script = f"""
        from forebay.serving import Tensor

        class Other:
            {declared}

            def preprocess(self, payload):
                return payload
    """
    flags = ("--predictor", f"127.0.0.1:{digits.grpc_port}")
    with serving(tmp_path, script, *flags, role="transformer", wait=False) as server:
        assert server.process.wait(START_TIMEOUT_S) == 3
        assert server.log.read_text().splitlines()[-1].startswith(message)


def test_what_a_transformer_declares_is_held_against_what_it_makes(digits, tmp_path):
    script = """
        import numpy as np
        from forebay.serving import Tensor

        class Declaring:
            model_inputs = [Tensor("image", "FP32", [-1, 4])]

            def preprocess(self, payload):
                return {"image": np.asarray(payload["rows"])}
    """
    flags = ("--predictor", f"127.0.0.1:{digits.grpc_port}")
    with serving(tmp_path, script, *flags, role="transformer") as server:
        # Of numpy's own float64 the declared type is made.
        assert server.post("/predict", json={"rows": [[1.5, 2, 3, 4]]}).json() == [[3, 4]]
        assert server.post("/predict", json={"rows": [[1.5, 2, 3]]}).status_code == 500
        assert "preprocess: output 'image' was declared as FP32 [-1, 4]" in server.log.read_text()


class Refusing(GRPCInferenceServiceServicer):
    """A predictor that answers as the queue in front of one does."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.RESOURCE_EXHAUSTED
        self.metadata = ()
        self.cancelled = threading.Event()
        self.remaining_s = None

    def ModelInfer(self, request, context):  # noqa: N802
        self.remaining_s = context.time_remaining()
        if self.code is None:
            context.add_callback(self.cancelled.set)
            self.cancelled.wait(20)
        context.set_trailing_metadata(self.metadata)
        context.abort(self.code or grpc.StatusCode.CANCELLED, "no more")


@pytest.fixture
def refusing():
    predictor = Refusing()
    server = grpc.server(ThreadPoolExecutor(4))
    add_GRPCInferenceServiceServicer_to_server(predictor, server)
    predictor.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield predictor
    server.stop(None)


REFUSALS = [
    ("RESOURCE_EXHAUSTED", 429, "queue-full"),
    ("DEADLINE_EXCEEDED", 504, "timeout"),
    ("UNAVAILABLE", 503, "instance-failed"),
]


def test_a_refusing_predictor_refuses_with_the_same_meaning(refusing, tmp_path):
    flags = ("--predictor", f"127.0.0.1:{refusing.port}", "--predictor-model", "digits")
    with serving(tmp_path, TRANSFORMER, *flags, role="transformer") as server:
        for code, status, reason in REFUSALS:
            refusing.code = grpc.StatusCode[code]
            refusing.metadata = (("x-forebay-reason", reason), ("retry-after", "7"))
            answer = server.post("/predict", json={"rows": [[1, 2, 3, 4]]})
            assert answer.status_code == status
            assert answer.headers["x-forebay-reason"] == reason
            assert answer.headers["retry-after"] == "7"
            with pytest.raises(grpc.RpcError) as caught:
                infer_over_grpc(server)
            assert caught.value.code().name == code
            assert ("x-forebay-reason", reason) in [tuple(pair) for pair in caught.value.trailing_metadata()]
        refusing.code, refusing.metadata = grpc.StatusCode.UNAVAILABLE, (("x-forebay-reason", "queue-full"),)
        assert server.post("/predict", json={"rows": [[1, 2, 3, 4]]}).status_code == 429
        refusing.code, refusing.metadata = grpc.StatusCode.RESOURCE_EXHAUSTED, ()
        assert server.post("/predict", json={"rows": [[1, 2, 3, 4]]}).headers["retry-after"] == "1"
        refusing.code = grpc.StatusCode.INTERNAL
        answer = server.post("/predict", json={"rows": [[1, 2, 3, 4]]})
        assert answer.status_code == 500
        assert "internal error" in answer.json()["error"]


def infer_over_grpc(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        return GRPCInferenceServiceStub(channel).ModelInfer(encode_request("digits", "", {"image": IMAGE}, {}))


def test_deadlines_and_cancellation_reach_the_predictor(refusing, tmp_path):
    flags = ("--predictor", f"127.0.0.1:{refusing.port}", "--predictor-model", "digits")
    with serving(tmp_path, TRANSFORMER, *flags, role="transformer") as server:
        refusing.code = None
        with pytest.raises(httpx.TimeoutException), server.client() as client:
            client.post("/predict", json={"rows": [[1, 2, 3, 4]]}, timeout=1)
        assert refusing.cancelled.wait(60)
        refusing.cancelled.clear()
        with (
            triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client,
            pytest.raises(InferenceServerException, match="DEADLINE_EXCEEDED"),
        ):
            client.infer("digits", [tensor(triton_grpc, IMAGE)], client_timeout=2)
        assert 0 < refusing.remaining_s < 2.5
        headers = {"x-envoy-expected-rq-timeout-ms": "900"}
        assert refusing.cancelled.wait(60)
        refusing.cancelled.clear()
        assert server.post("/predict", json={"rows": [[1, 2, 3, 4]]}, headers=headers).status_code == 504


def test_a_predictor_that_is_away_is_a_503(tmp_path):
    (port,) = find_free_ports(1)
    flags = ("--predictor", f"127.0.0.1:{port}")
    with serving(tmp_path, TRANSFORMER, *flags, role="transformer", wait=False) as server:
        # Nobody is sent there before the predictor was reached once: in a cluster DNS may be later than its pods.
        server.wait_for(lambda: "has not been reached yet" in server.get("/v2/health/ready").text)
        assert server.get("/v2/health/live").status_code == 200
        answer = server.post("/predict", json={"rows": [[1, 2, 3, 4]]})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"


def test_async_code_is_cancelled_when_the_client_goes_away(tmp_path):
    script = f"""
        import asyncio, pathlib
        class Slow:
            async def predict(self, inputs):
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    pathlib.Path({str(tmp_path / "cancelled")!r}).touch()
                    raise
    """
    with serving(tmp_path, script) as server:
        with pytest.raises(httpx.TimeoutException), server.client() as client:
            client.post("/predict", json={"inputs": {"x": [1]}}, timeout=0.5)
        server.wait_for((tmp_path / "cancelled").exists)
        server.wait_for(lambda: 'requests_total{code="499",protocol="raw"} 1.0' in server.get("/metrics").text)


STREAM = """
    import numpy as np
    from forebay.serving import Tensor
    class Count:
        inputs = [Tensor("n", "INT64", [1])]
        outputs = [Tensor("i", "INT64", [1])]
        {kind} predict(self, inputs, request):
            for i in range(int(inputs["n"][0])):
                if i == 5: raise RuntimeError("the secret reason")
                yield {{"i": np.array([i])}}
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_streams(tmp_path, kind):
    with serving(tmp_path, STREAM.format(kind=kind)) as server:
        answer = server.post("/v2/models/digits/generate_stream", json={"n": 3})
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert [json.loads(line[6:])["i"] for line in answer.text.split("\n\n")[:-1]] == [0, 1, 2]
        assert "internal error" in server.post("/v2/models/digits/generate_stream", json={"n": 9}).text
        assert server.post("/v2/models/digits/generate_stream", json={"n": "x"}).status_code == 400
        assert server.post("/v2/models/digits/generate", json={"n": 1}).json()["i"] == 0
        assert server.post("/v2/models/digits/generate", json={"n": 2}).status_code == 400
        assert server.post("/predict", json={"inputs": {"n": [3]}}).status_code == 400
        assert asyncio.run(stream_over_grpc(server, 3)) == [[0], [1], [2]]
        assert "internal error" in asyncio.run(stream_over_grpc(server, 9))[-1]


@pytest.mark.parametrize(("kind", "pause"), [("def", "time.sleep(0.05)"), ("async def", "await asyncio.sleep(0.05)")])
def test_a_stream_ends_when_its_client_goes_away(tmp_path, kind, pause):
    script = f"""
        import asyncio, pathlib, time
        class Endless:
            {kind} predict(self, inputs):
                try:
                    while True:
                        yield {{"y": inputs["x"]}}
                        {pause}
                finally:
                    pathlib.Path({str(tmp_path / "ended")!r}).touch()
    """
    with serving(tmp_path, script) as server:
        with (
            server.client() as client,
            client.stream("POST", "/v2/models/digits/generate_stream", json={"x": 1}) as answer,
        ):
            lines = answer.iter_lines()  # kept: with it, the connection would go
            assert next(lines).startswith("data: ")
            assert not (tmp_path / "ended").exists()
        server.wait_for((tmp_path / "ended").exists)


def test_a_body_too_big_for_the_predictor_is_no_reason_to_try_again(tmp_path):
    with (
        serving(tmp_path / "predictor", ECHO, "--max-request-mib", "1") as predictor,
        serving(
            tmp_path, "class T:\n  def postprocess(self, o): return o", "--predictor",
            f"127.0.0.1:{predictor.grpc_port}", role="transformer",
        ) as server,
    ):  # fmt: skip
        big = np.zeros(2**19, np.float32)
        with (
            triton_http.InferenceServerClient(f"127.0.0.1:{server.http_port}") as client,
            pytest.raises(InferenceServerException, match=r"413.*larger than max"),
        ):
            client.infer("digits", [tensor(triton_http, big)])


async def stream_over_grpc(server, count):
    async def requests():
        yield {"model_name": "digits", "inputs": [tensor(triton_grpc, np.array([count]), "n")]}

    async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        answers = client.stream_infer(requests())
        return [str(error) if error else result.as_numpy("i").tolist() async for result, error in answers]
