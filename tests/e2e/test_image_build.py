"""An ImageBuild on the real cluster: its Job pushes to a registry of this machine, and the image serves.

The registry has two addresses: one for pods, and loopback for the node's containerd, which takes it without TLS there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from forebay.build.base import choose_platform
from forebay.plan.images import Images
from tests.e2e.bucket import find_own_address
from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.models import DOUBLER, ask, build, describe, wait_ready
from tests.e2e.test_images import hack_images
from tests.local.image_registry import serving_images

pytestmark = pytest.mark.timeout(1200)

BUILD_S = 240


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
    tag = Images().runtime.rpartition(":")[2]
    digests = []
    # Two clean builds: each pod starts with nothing.
    for name in ("one", "two"):
        spec = {
            "script": DOUBLER,
            "image": f"{registry.pods}/models/{name}:1",
            "base": f"{registry.pods}/forebay/runtime:{tag}",
            "platforms": [choose_platform()],
            "insecure": True,
            "resources": {"cpu": "10m", "memory": "512Mi"},
        }
        metadata = {"name": "doubler", "namespace": namespace.namespace}
        body = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ImageBuild", "metadata": metadata, "spec": spec}
        namespace.apply(body)
        digests.append(wait_built(namespace, f"{registry.pods}/models/{name}@"))
    assert digests[0] == digests[1]
    image = f"{registry.node}/models/two@{digests[1]}"
    namespace.apply(build("built", predictor={"custom": {"image": image, "grpcPort": 8001}}))
    wait_ready(namespace, "built")
    answer = ask(gateway, namespace.namespace, "built")
    assert answer.status_code == 200, f"{answer.text}\n{describe(namespace, 'built')}"
    assert answer.json()["outputs"][0]["data"] == [2, 4]


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
