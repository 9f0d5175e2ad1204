"""The images of hack/images: each does its work under Pod Security `restricted`, as its user, on a read-only root."""

import base64
import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.cluster import HACK, RESTRICTED, Kubectl, eventually

pytestmark = pytest.mark.timeout(900)

# What is started in each image.
PACKAGES = {
    "operator": ["forebay.controller", "forebay.gateway", "forebay.build"],
    "runtime": ["forebay.serving", "forebay.node"],
}
IMPORT_ALL = """
import importlib, pkgutil, sys
from importlib.metadata import version
for root in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(root).__path__, f"{root}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(version("forebay"), *(root for root in sys.argv[1:] if root in sys.modules))
"""
IDENTITY = "id -u; id -g; touch /new 2>&1; touch /tmp/new && echo tmp; cd ~ && pwd; cat /proc/self/status"
MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        values = [pb_utils.get_input_tensor_by_name(each, "x").as_numpy() for each in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", value * 2)]) for value in values]
"""
CONFIG = """
name: "%s"
backend: "%s"
max_batch_size: 0
input [{ name: "x", data_type: TYPE_FP32, dims: [ 3 ] }]
output [{ name: "y", data_type: TYPE_FP32, dims: [ 3 ] }]
"""


@pytest.fixture(scope="module")
def images(kubectl: Kubectl) -> dict[str, str]:
    hack_images()
    values = yaml.safe_load(Path(kubectl.kubeconfig).with_name("images.yaml").read_text())
    found: dict[str, str] = values["images"]
    return found


def hack_images(*arguments: str) -> str:
    # All that is built lands in the cache; the first time this takes a few minutes.
    done = subprocess.run(
        [HACK / "images", *arguments], capture_output=True, text=True, timeout=800, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def build_pod(name: str, container: dict[str, Any], *volumes: dict[str, Any]) -> dict[str, Any]:
    """No user is asked for: that is the image's own."""
    container = {
        "name": name,
        "imagePullPolicy": "Never",
        "securityContext": {**RESTRICTED, "readOnlyRootFilesystem": True},
        **container,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *container.get("volumeMounts", [])],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
        },
    }


def run(kubectl: Kubectl, name: str, image: str, **container: Any) -> str:
    """What the container printed until it ended well."""
    kubectl.apply(build_pod(name, {"image": image, **container}))
    phase = eventually(lambda: find_end(kubectl, name), timeout_s=60)
    said = kubectl("logs", name)
    assert phase == "Succeeded", said
    return said


def find_end(kubectl: Kubectl, name: str) -> str | None:
    phase: str = kubectl.get("pod", name)["status"]["phase"]
    return phase if phase in {"Succeeded", "Failed"} else None


@pytest.mark.parametrize("name", ["operator", "runtime", "triton"])
def test_an_image_runs_as_an_ordinary_user_on_a_read_only_root(
    namespace: Kubectl, images: dict[str, str], name: str
) -> None:
    said = run(namespace, f"identity-{name}", images[name], command=["sh", "-c", IDENTITY]).splitlines()
    assert said[:5] == ["1000", "1000", "touch: /new: Read-only file system", "tmp", "/tmp"]
    assert "CapEff:\t0000000000000000" in said


@pytest.mark.parametrize("name", ["operator", "runtime"])
def test_an_image_has_what_its_modules_import(namespace: Kubectl, images: dict[str, str], name: str) -> None:
    command = ["python", "-c", IMPORT_ALL, *PACKAGES[name]]
    said = run(namespace, f"imports-{name}", images[name], command=command)
    assert said.splitlines()[-1].split() == [version("forebay"), *PACKAGES[name]]


def test_the_runtime_has_what_scripts_count_on(namespace: Kubectl, images: dict[str, str]) -> None:
    code = "import numpy, PIL.Image; print(PIL.Image.fromarray(numpy.zeros((2, 2), 'uint8')).size)"
    assert run(namespace, "script", images["runtime"], command=["python", "-c", code]) == "(2, 2)\n"


@pytest.mark.parametrize("name", ["runtime", "triton"])
def test_the_drain_is_there(namespace: Kubectl, images: dict[str, str], name: str) -> None:
    # No sidecar answers, so that it only settles.
    command = ["python3", "/opt/forebay/drain.py", "--settle=0.1"]
    assert run(namespace, f"drain-{name}", images[name], command=command) == ""


def test_envoy_is_the_entrypoint(namespace: Kubectl, images: dict[str, str]) -> None:
    assert "/1.40.0/" in run(namespace, "envoy", images["envoy"], args=["--version"])


def test_triton_serves_python_and_onnx_models(namespace: Kubectl, images: dict[str, str]) -> None:
    files = {
        "double.config.pbtxt": CONFIG % ("double", "python"),
        "double.model.py": MODEL,
        "negate.config.pbtxt": CONFIG % ("negate", "onnxruntime"),
    }
    models = {"negate.model.onnx": base64.b64encode(build_onnx()).decode()}
    namespace.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "models"}, "data": files, "binaryData": models}
    )
    paths = {
        "double.config.pbtxt": "double/config.pbtxt",
        "double.model.py": "double/1/model.py",
        "negate.config.pbtxt": "negate/config.pbtxt",
        "negate.model.onnx": "negate/1/model.onnx",
    }
    # File by file: Triton would take a ConfigMap's own folders for models.
    mounts = [{"name": "models", "mountPath": f"/models/{path}", "subPath": key} for key, path in paths.items()]
    container = {
        "image": images["triton"],
        "command": ["tritonserver", "--model-repository=/models"],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8000}, "periodSeconds": 1},
        "volumeMounts": [*mounts, {"name": "shm", "mountPath": "/dev/shm"}],
    }
    volumes = (
        {"name": "models", "configMap": {"name": "models"}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    )
    namespace.apply(build_pod("triton", container, *volumes))
    waited = namespace.run("wait", "pod/triton", "--for=condition=Ready", "--timeout=60s", timeout_s=70)
    assert waited.returncode == 0, namespace("logs", "triton")
    address = namespace.get("pod", "triton")["status"]["podIP"]
    assert infer(address, "double") == [2, 4, 6]
    assert infer(address, "negate") == [-1, -2, -3]


def build_onnx() -> bytes:
    onnx = pytest.importorskip("onnx")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "negate", [x], [y])
    opset = onnx.helper.make_opsetid("", 17)
    model: bytes = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()
    return model


def infer(address: str, model: str) -> list[float]:
    body = {"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1, 2, 3]}]}
    answer = httpx.post(f"http://{address}:8000/v2/models/{model}/infer", json=body, timeout=10, trust_env=False)
    assert answer.status_code == 200, answer.text
    data: list[float] = json.loads(answer.text)["outputs"][0]["data"]
    return data


@pytest.mark.usefixtures("images")
def test_a_second_run_builds_and_loads_nothing() -> None:
    # These two don't hold the code, which somebody may be writing now.
    said = hack_images("triton", "envoy")
    assert "layer" not in said
    assert "loaded" not in said
    assert "the cluster has them all" in said


def test_an_archive_is_for_docker_too(tmp_path: Path, images: dict[str, str]) -> None:
    hack_images("envoy", "--to", str(tmp_path))
    listed = subprocess.run(
        ["tar", "-xOf", tmp_path / "envoy.tar", "manifest.json"], capture_output=True, text=True, check=True
    )
    assert images["envoy"] in json.loads(listed.stdout)[0]["RepoTags"]
