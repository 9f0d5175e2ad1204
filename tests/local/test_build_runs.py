"""An image over the real runtime, of which hack/images has the content: built, pushed, and its server run."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc

from tests.local.image_container import running_container, unpack
from tests.local.image_registry import ImageRegistry, serving_images
from tests.local.storage_servers import free_port

ROOT = Path(__file__).parents[2]
SCRIPT = """\
import six  # not among the runtime's
from forebay.serving import Tensor

import features


class Scaler:
    inputs = [Tensor("x", "FP32", [-1, 2])]
    outputs = [Tensor("y", "FP32", [-1, 2])]

    def load(self, context):
        self.factor = float((context.model_dir / "factor.txt").read_text())

    def predict(self, inputs):
        return {"y": features.scale(inputs["x"], self.factor)}
"""
UP_S = 120
# The first time there is a runtime to build.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with serving_images(folder) as host, httpx.Client(base_url=f"http://{host}", timeout=60) as client:
        command = [sys.executable, "-P", "-m", "image_tool", "runtime", "--push", host]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": "hack"}, cwd=ROOT, capture_output=True, text=True, timeout=1100,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        yield ImageRegistry(host, client)


def test_the_image_serves_by_rest_and_grpc(registry: ImageRegistry, tmp_path: Path) -> None:
    (tmp_path / "scaler.py").write_text(SCRIPT)
    (tmp_path / "features.py").write_text("def scale(x, factor):\n    return x * x.dtype.type(factor)\n")
    (tmp_path / "requirements.txt").write_text("six==1.17.0\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/factor.txt").write_text("3\n")
    (base,) = registry.client.get("/v2/forebay/runtime/tags/list").json()["tags"]
    command = [
        sys.executable, "-m", "forebay.cli", "build", "scaler.py", "--requirements", "requirements.txt",
        "--model", "model", "--base", f"{registry.host}/forebay/runtime:{base}",
        "--tag", f"{registry.host}/models/scaler:1",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout
    root, log = tmp_path / "root", tmp_path / "server.log"
    config = unpack(registry, "models/scaler", "1", root)
    http, grpc = free_port(), free_port()
    # What a pod says of the ports; all else is the image's own.
    ports = {"FOREBAY_HOST": "127.0.0.1", "FOREBAY_HTTP_PORT": str(http), "FOREBAY_GRPC_PORT": str(grpc)}
    with running_container(root, config, log, **ports) as process:
        wait_ready(f"http://127.0.0.1:{http}", process, log)
        body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
        answer = httpx.post(f"http://127.0.0.1:{http}/v2/models/scaler/infer", json=body, trust_env=False, timeout=30)
        assert answer.json()["outputs"][0]["data"] == [3, 6]
        assert ask_by_grpc(f"127.0.0.1:{grpc}") == [3, 6]
    assert config["config"]["ExposedPorts"] == {"8000/tcp": {}, "8001/tcp": {}}
    written = [path for path in root.rglob("*.pyc") if path.stat().st_uid == 1000]
    assert not written, "nothing is written beside the code"


def wait_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + UP_S
    while True:
        try:
            if httpx.get(f"{url}/v2/health/ready", trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.1)


def ask_by_grpc(address: str) -> list[float]:
    client = tritonclient.grpc.InferenceServerClient(address)
    x = np.array([[1, 2]], np.float32)
    tensor = tritonclient.grpc.InferInput("x", x.shape, "FP32")
    tensor.set_data_from_numpy(x)
    found: list[float] = client.infer("scaler", [tensor]).as_numpy("y").ravel().tolist()
    return found
