"""ModelDeployments for the tests here, and what became of them."""

import base64
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.e2e.cluster import HACK, Kubectl, eventually
from tests.e2e.installation import describe_system

Json = dict[str, Any]
DIGITS = HACK / "examples/digits"
PICTURES = DIGITS / "build/pictures"
# The node may have but two cores for all of them.
SMALL = {"cpu": "10m", "memory": "256Mi"}
LEAN = {"resources": {"requests": {"cpu": "10m"}}}
READY_S = 90
DOUBLER = """
import numpy as np
from forebay.serving import Tensor


class Doubler:
    inputs = [Tensor("x", "FP32", [-1, 2])]
    outputs = [Tensor("y", "FP32", [-1, 2])]

    def predict(self, inputs):
        return {"y": inputs["x"] * np.float32(2)}
"""
DOUBLE = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


def build(name: str, *, predictor: Json | None = None, **spec: Any) -> Json:
    """A ModelDeployment; by default of a script that doubles numbers."""
    predictor = make_lean(predictor or {"custom": {"script": DOUBLER}}, downloads="model" in spec)
    return {
        "apiVersion": "forebay.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"predictor": predictor, **spec},
    }


def make_lean(component: Json, *, downloads: bool) -> Json:
    """The component, asking for so little CPU that many find a place on the node."""
    template = component.get("podTemplate", {})
    lean = [{"name": name, **LEAN} for name in (["download"] if downloads else []) + ["queue"]]
    template = {**template, "spec": {"initContainers": lean, **template.get("spec", {})}}
    return {"resources": SMALL, **component, "podTemplate": template}


def build_doubler(name: str, *, pod: Json | None = None, container: Json | None = None, **predictor: Any) -> Json:
    """The doubler, with something added to its pods or to its container."""
    spec = {**(pod or {}), **({"containers": [{"name": "predictor", **container}]} if container else {})}
    template = {"podTemplate": {"spec": spec}} if spec else {}
    return build(name, predictor={"custom": {"script": DOUBLER}, **template, **predictor})


def build_digits(*, uri: str, secret: str) -> Json:
    """hack/examples/digits as one would apply it to a cluster: the files in a bucket, the script inline."""
    manifest: Json = yaml.safe_load((DIGITS / "digits.yaml").read_text())
    spec = manifest["spec"]
    spec["model"] = {"uri": uri, "credentials": {"secretName": secret}}
    spec["transformer"]["custom"]["script"] = (DIGITS / "transformer.py").read_text()
    spec["predictor"]["resources"] = {"cpu": "50m", "memory": "512Mi"}
    for part in ("predictor", "transformer"):
        spec[part] = make_lean(spec[part], downloads=part == "predictor")
    return manifest


def build_secret(name: str, values: dict[str, str]) -> Json:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def list_pictures() -> list[Path]:
    return sorted(PICTURES.glob("*.png"))


def read_status(kubectl: Kubectl, name: str) -> Json:
    found: Json = kubectl.get("md", name).get("status", {})
    return found


def find_condition(status: Json, kind: str = "Ready") -> Json:
    return next((each for each in status.get("conditions", []) if each["type"] == kind), {})


def list_pods(kubectl: Kubectl, name: str, role: str = "") -> list[Json]:
    """The pods of a ModelDeployment that were not told to stop."""
    selector = f"app.kubernetes.io/instance={name}" + (f",app.kubernetes.io/component={role}" if role else "")
    pods = kubectl.get("pods", f"--selector={selector}")["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: Json) -> bool:
    return find_condition(pod["status"]).get("status") == "True"


def wait_ready(kubectl: Kubectl, *names: str, timeout_s: float = READY_S) -> None:
    """Until the wanted generations are ready."""
    for name in names:

        def is_done(name: str = name) -> bool:
            found = kubectl.get("md", name)
            status = found.get("status", {})
            is_current = status.get("observedGeneration") == found["metadata"]["generation"]
            return is_current and find_condition(status).get("status") == "True"

        eventually(is_done, timeout_s=timeout_s, explain=lambda name=name: describe(kubectl, name))


def wait_reason(kubectl: Kubectl, name: str, reason: str, *, timeout_s: float = READY_S) -> Json:
    """Until Ready is False for that reason: the condition."""

    def find() -> Json | None:
        found = kubectl.get("md", name)
        condition = find_condition(found.get("status", {}))
        is_current = condition.get("observedGeneration") == found["metadata"]["generation"]
        return condition if is_current and condition["reason"] == reason else None

    found = eventually(find, timeout_s=timeout_s, explain=lambda: describe(kubectl, name))
    assert found
    return found


def describe(kubectl: Kubectl, name: str) -> str:
    """All that somebody who looks into a failure asks for first."""
    selector = f"--selector=app.kubernetes.io/instance={name}"
    parts = [
        kubectl.run("describe", "md", name).stdout,
        kubectl.run("get", "pods,deployments", selector, "--output=wide").stdout,
        kubectl.run("logs", selector, "--all-containers", "--prefix", "--tail=15", "--ignore-errors").stdout,
        describe_system(kubectl),
    ]
    return "\n".join(parts)


def ask(gateway: str, namespace: str, name: str, **headers: str) -> httpx.Response:
    """A request to a doubler, through the gateway."""
    url = f"http://{gateway}/{namespace}/{name}/v2/models/{name}/infer"
    return httpx.post(url, json=DOUBLE, headers=headers, trust_env=False, timeout=20)


def list_events(kubectl: Kubectl, name: str) -> list[Json]:
    selector = f"--field-selector=involvedObject.kind=ModelDeployment,involvedObject.name={name}"
    found: list[Json] = kubectl.get("events", selector)["items"]
    return found
