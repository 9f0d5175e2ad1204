"""An ImageBuild on the real cluster: its Job pushes to a registry of this machine, and the image serves.

The registry has two addresses: one for pods, and loopback for the node's containerd, which takes it without TLS there.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from forebay.build.base import choose_platform
from forebay.plan.images import Images
from tests.e2e.bucket import Bucket, find_own_address
from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.models import DOUBLER, ask, build, build_secret, describe, wait_ready
from tests.e2e.test_images import hack_images
from tests.local.image_registry import serving_images

pytestmark = pytest.mark.timeout(1200)

BUILD_S = 240
# A linear classifier of digits, as a script has it and as a graph.
DIGITS = """
import numpy as np
from forebay.serving import Tensor


class Digits:
    inputs = [Tensor("image", "FP32", [-1, 64])]
    outputs = [Tensor("label", "INT64", [-1])]

    def load(self, context):
        held = np.load(context.model_dir / "digits.npz")
        self.weights, self.bias = held["weights"], held["bias"]

    def predict(self, inputs):
        return {"label": (inputs["image"] @ self.weights + self.bias).argmax(axis=1)}
"""
CONFIG = """
backend: "onnxruntime"
max_batch_size: 0
input [{name: "image", data_type: TYPE_FP32, dims: [-1, 64]}]
output [{name: "label", data_type: TYPE_INT64, dims: [-1]}]
"""
FORMS = ("repository", "bare", "script", "image")


@dataclass(frozen=True)
class Registry:
    """Where pods find it, and where the node's containerd does."""

    pods: str
    node: str


@pytest.fixture(scope="module")
def registry(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if kubectl("config", "current-context").startswith("kind-"):
        pytest.skip("kind's containerd has a loopback of its own: it takes no registry of this machine without TLS")
    folder = tmp_path_factory.mktemp("registry")
    node = kubectl.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    with (
        serving_images(folder / "pods", address=find_own_address(node), storage=storage) as pods,
        serving_images(folder / "node", storage=storage) as local,
    ):
        hack_images("runtime", "--push", local)
        yield Registry(pods=pods, node=local)


def test_a_script_becomes_an_image_that_serves(gateway: str, namespace: Kubectl, registry: Registry) -> None:
    # Two clean builds: each pod starts with nothing.
    digests = [build_image(namespace, registry, name, DOUBLER) for name in ("one", "two")]
    assert digests[0] == digests[1]
    image = f"{registry.node}/models/two@{digests[1]}"
    namespace.apply(build("built", predictor={"custom": {"image": image, "grpcPort": 8001}}))
    wait_ready(namespace, "built")
    answer = ask(gateway, namespace.namespace, "built")
    assert answer.status_code == 200, f"{answer.text}\n{describe(namespace, 'built')}"
    assert answer.json()["outputs"][0]["data"] == [2, 4]


def test_one_model_in_four_forms(gateway: str, namespace: Kubectl, bucket: Bucket, registry: Registry) -> None:
    """As a Triton repository, as a file alone, as a script, and as an image of the script: the same answers."""
    pictures, labels = load_digits(return_X_y=True)
    pictures = pictures.astype(np.float32)
    classifier = LogisticRegression(max_iter=2000).fit(pictures[200:], labels[200:])
    weights, bias = classifier.coef_.T.astype(np.float32), classifier.intercept_.astype(np.float32)
    graph = build_graph(weights, bias)
    bucket.put("forms/repository/config.pbtxt", CONFIG.encode())
    bucket.put("forms/repository/1/model.onnx", graph)
    bucket.put("bare/digits.onnx", graph)
    held = io.BytesIO()
    np.savez(held, weights=weights, bias=bias)
    bucket.put("arrays/digits.npz", held.getvalue())
    digest = build_image(namespace, registry, "digits", DIGITS)
    namespace.apply(build_secret("store", bucket.credentials))
    arrays = {"uri": "s3://models/arrays", "credentials": {"secretName": "store"}}
    image = {"image": f"{registry.node}/models/digits@{digest}", "grpcPort": 8001}
    for manifest in (
        build("repository", predictor={"triton": {}}, model={**arrays, "uri": "s3://models/forms"}),
        build("bare", predictor={"triton": {}}, model={**arrays, "uri": "s3://models/bare", "format": "onnx"}),
        build("script", predictor={"custom": {"script": DIGITS}}, model=arrays),
        build("image", predictor={"custom": image}, model=arrays),
    ):
        namespace.apply(manifest)
    wait_ready(namespace, *FORMS, timeout_s=BUILD_S)
    shown = pictures[:50]
    body = {"inputs": [{"name": "image", "shape": [50, 64], "datatype": "FP32", "data": shown.ravel().tolist()}]}
    expected = [int(label) for label in classifier.predict(shown)]
    for form in FORMS:
        url = f"http://{gateway}/{namespace.namespace}/{form}/v2/models/{form}/infer"
        answer = httpx.post(url, json=body, trust_env=False, timeout=30)
        assert answer.status_code == 200, f"{form}: {answer.text}\n{describe(namespace, form)}"
        assert answer.json()["outputs"][0]["data"] == expected, form


def build_graph(weights: np.ndarray, bias: np.ndarray) -> bytes:
    nodes = [
        helper.make_node("Gemm", ["image", "weights", "bias"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 64])
    label = helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["n"])
    held = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")]
    graph = helper.make_graph(nodes, "digits", [image], [label], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def build_image(kubectl: Kubectl, registry: Registry, name: str, script: str) -> str:
    """Have an image of a script built and pushed; its digest."""
    spec = {
        "script": script,
        "image": f"{registry.pods}/models/{name}:1",
        "base": f"{registry.pods}/forebay/runtime:{Images().runtime.rpartition(':')[2]}",
        "platforms": [choose_platform()],
        "insecure": True,
        "resources": {"cpu": "10m", "memory": "512Mi"},
    }
    metadata = {"name": "doubler", "namespace": kubectl.namespace}
    kubectl.apply({"apiVersion": "forebay.dev/v1alpha1", "kind": "ImageBuild", "metadata": metadata, "spec": spec})
    return wait_built(kubectl, f"{registry.pods}/models/{name}@")


def test_a_script_that_is_none_is_told(namespace: Kubectl, registry: Registry) -> None:
    spec = {"script": "class A(:\n  pass\n", "image": f"{registry.pods}/models/a:1", "insecure": True}
    body = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "wrong"}, "spec": spec}
    namespace.apply(body)
    said = eventually(
        lambda: find_ready(namespace, "wrong", "BuildFailed"),
        timeout_s=BUILD_S,
        explain=lambda: tell(namespace, "wrong"),
    )
    assert "script.py:1: invalid syntax" in said["message"]


def wait_built(kubectl: Kubectl, prefix: str) -> str:
    """Until the image is pushed to where it was to go; its digest."""

    def is_done() -> str:
        status = kubectl.get("imagebuild", "doubler").get("status", {})
        is_there = status.get("image", "").startswith(prefix) and find_ready(kubectl, "doubler", "Ready")
        return str(status["digest"]) if is_there else ""

    return eventually(is_done, timeout_s=BUILD_S, explain=lambda: tell(kubectl, "doubler"))


def find_ready(kubectl: Kubectl, name: str, reason: str) -> dict[str, str]:
    """The condition Ready of the present generation, once it has this reason."""
    found = kubectl.get("imagebuild", name)
    conditions = found.get("status", {}).get("conditions", [])
    current = [each for each in conditions if each["observedGeneration"] == found["metadata"]["generation"]]
    return next((each for each in current if (each["type"], each["reason"]) == ("Ready", reason)), {})


def tell(kubectl: Kubectl, name: str) -> str:
    """What somebody who looks into a failure asks for first."""
    described = kubectl.run("describe", f"imagebuild/{name}").stdout
    logs = kubectl.run("logs", f"--selector=forebay.dev/image-build={name}", "--tail=40").stdout
    return f"{described}\n{logs}"
