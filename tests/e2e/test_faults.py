"""What is wrong is told in status and in an Event, with what to do; put right it gets ready; what served goes on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.e2e.bucket import Bucket
from tests.e2e.cluster import IMAGE, RESTRICTED, Kubectl, eventually
from tests.e2e.models import (
    DOUBLE,
    SMALL,
    build,
    build_doubler,
    build_secret,
    describe,
    find_condition,
    list_events,
    read_status,
    wait_ready,
    wait_reason,
)

pytestmark = pytest.mark.timeout(300)

Json = dict[str, Any]
NAMESPACE = "test-faults"
GPU = "nvidia.com/gpu"
SLOWLY_S = 120
PASSWORD = "canary-wrong-password"
CRASH = "import os\nprint('out of luck', flush=True)\nos._exit(7)\n"
SYNTAX = "class Broken\n    pass\n"
HUNGRY = """
class Hungry:
    def load(self, context):
        self.held = bytearray(600 * 2**20)

    def predict(self, inputs):
        return inputs
"""
# Answers as the doubler does, from files in the bucket.
READING = """
import pathlib


class Reading:
    def load(self, context):
        self.factor = int(pathlib.Path(context.model_dir, "factor").read_text())

    def predict(self, inputs):
        return {"y": inputs["x"] * self.factor}
"""
DIGITS = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}]}


@dataclass(frozen=True)
class Fault:
    """A ModelDeployment that can't be served, and what is to be told of it.

    `right` is the corrected one; without it `cure`, objects, makes the same one work, or their absence (`rid`).
    """

    reason: str
    words: tuple[str, ...]
    wrong: Json
    right: Json | None = None
    cure: tuple[Json, ...] = ()
    rid: str = ""
    model: str = ""
    namespace: str = NAMESPACE
    question: Json = field(default_factory=lambda: DOUBLE)

    @property
    def name(self) -> str:
        return str(self.wrong["metadata"]["name"])


def build_reading(name: str, *, uri: str = "s3://models/factor", secret: str = "store") -> Json:  # noqa: S107
    model = {"uri": uri, "credentials": {"secretName": secret}}
    return build(name, predictor={"custom": {"script": READING}}, model=model)


def build_triton(name: str, uri: str) -> Json:
    predictor = {"triton": {}, "resources": SMALL | {"memory": "512Mi"}}
    return build(name, predictor=predictor, model={"uri": uri, "credentials": {"secretName": "store"}})


def build_scripted(name: str, script: str) -> Json:
    return build(name, predictor={"custom": {"script": script}})


def list_faults(credentials: dict[str, str]) -> list[Fault]:
    store = build_secret("late", credentials)
    wrong_key = build_secret("mistyped", credentials | {"AWS_SECRET_ACCESS_KEY": PASSWORD})
    from_secret = {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "main"}}}]}
    gpu = {"resources": SMALL | {"gpu": {"count": 1}}}
    return [
        Fault(
            "ImagePullFailed",
            ("container predictor", "forebay.test/nowhere:1 can't be pulled"),
            build_doubler("image", container={"image": "forebay.test/nowhere:1"}),
            build_doubler("image"),
        ),
        Fault(
            "CrashLoop",
            ("container predictor", "ended with status 7", "out of luck"),
            build_scripted("crash", CRASH),
            build_doubler("crash"),
        ),
        Fault(
            "OutOfMemory",
            ("needs more than its 256Mi of memory", "predictor.resources.memory"),
            build_scripted("hungry", HUNGRY),
            build_doubler("hungry"),
        ),
        Fault(
            "ModelLoadFailed",
            ("script.py:1: expected ':'",),
            build_scripted("syntax", SYNTAX),
            build_doubler("syntax"),
        ),
        Fault(
            "ModelLoadFailed",
            ("container predictor", "can't load the model"),
            build_triton("triton", "s3://models/bad"),
            build_triton("triton", "s3://models/digits"),
            model="digits",
            question=DIGITS,
        ),
        Fault(
            "ModelDownloadFailed",
            ("container download", "digits/1/ holds only labels.txt, and the backend onnxruntime loads model.onnx"),
            build_triton("half", "s3://models/half"),
            build_triton("half", "s3://models/digits"),
            model="digits",
            question=DIGITS,
        ),
        Fault(
            "ModelDownloadFailed",
            ("container download", "s3://models/nothing"),
            build_reading("prefix", uri="s3://models/nothing"),
            build_reading("prefix"),
        ),
        Fault(
            "ModelDownloadFailed",
            ("container download", "nowhere"),
            build_reading("bucket", uri="s3://nowhere/factor"),
            build_reading("bucket"),
        ),
        Fault(
            "ModelDownloadFailed",
            ("container download", "AWS_SECRET_ACCESS_KEY"),
            build_reading("password", secret="mistyped"),
            cure=(wrong_key | {"data": store["data"]},),
        ),
        Fault(
            "ConfigMissing",
            ("the Secret late isn't there", "kubectl create secret"),
            build_reading("secret", secret="late"),
            cure=(store,),
        ),
        Fault(
            "ConfigMissing",
            ("the Secret tokens isn't there",),
            build_doubler("variable", container=from_secret),
            build_doubler("variable"),
        ),
        Fault(
            "WaitingForGPU",
            (f"waits for 1 {GPU}", "no node has so many free"),
            build_doubler("gpu", **gpu),
            rid="pod/holder",
        ),
        Fault(
            "Unschedulable",
            ("nodeSelector",),
            build_doubler("elsewhere", pod={"nodeSelector": {"zone": "moon"}}),
            build_doubler("elsewhere"),
        ),
        Fault(
            "QuotaExceeded",
            ("ResourceQuota tight has too little left",),
            build_doubler("quota"),
            rid="resourcequota/tight",
            namespace=f"{NAMESPACE}-quota",
        ),
        Fault(
            "Forbidden",
            ("restricted", "predictor.podTemplate.spec", "hostNetwork"),
            build_doubler("host", pod={"hostNetwork": True}),
            build_doubler("host"),
        ),
        Fault(
            "InvalidPodTemplate",
            ("nodeSelectr",),
            build_doubler("field", pod={"nodeSelectr": {"a": "b"}}),
            build_doubler("field"),
        ),
        Fault(
            "InvalidPodTemplate",
            ("predictor.podTemplate", "tolerations"),
            build_doubler("value", pod={"tolerations": [{"key": "a", "operator": "Sometimes"}]}),
            build_doubler("value"),
        ),
    ]


FAULTS = list_faults({})
NAMES = [fault.name for fault in FAULTS]
CORRECTED = [fault.name for fault in FAULTS if fault.right]


@pytest.fixture(scope="module")
def faults(namespace: Kubectl, gateway: str, bucket: Bucket) -> Iterator[dict[str, Fault]]:
    """All that is wrong at once, as each takes its time."""
    bucket.put("factor/factor", b"2")
    bucket.put("bad/digits/config.pbtxt", b'name: "digits"\nbackend: "onnxruntime"\nmax_batch_size: 64\n')
    # An ONNX model, but of no operator set: only onnxruntime finds that out.
    bucket.put("bad/digits/1/model.onnx", b"\x08\x08:\x00")
    bucket.put("half/digits/config.pbtxt", b'name: "digits"\nbackend: "onnxruntime"\nmax_batch_size: 64\n')
    bucket.put("half/digits/1/labels.txt", b"0")
    found = {fault.name: fault for fault in list_faults(bucket.credentials)}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}}
    tight = {**quota, "spec": {"hard": {"requests.memory": "100Mi"}}}
    other = namespace.within(f"{NAMESPACE}-quota")
    namespace("delete", "namespace", other.namespace, "--ignore-not-found", "--timeout=60s", timeout_s=70)
    namespace("create", "namespace", other.namespace)
    other.apply(tight)
    mistyped = build_secret("mistyped", bucket.credentials | {"AWS_SECRET_ACCESS_KEY": PASSWORD})
    namespace.apply(build_secret("store", bucket.credentials), mistyped, build_holder())
    namespace("wait", "pod/holder", "--for=condition=Ready", "--timeout=60s", timeout_s=70)
    for fault in found.values():
        namespace.within(fault.namespace).apply(fault.wrong)
    yield found
    namespace.run("delete", "namespace", other.namespace, "--wait=false")


@pytest.fixture(scope="module")
def corrected(faults: dict[str, Fault], namespace: Kubectl) -> dict[str, Fault]:
    """The same, put right."""
    for fault in faults.values():
        there = namespace.within(fault.namespace)
        if fault.rid:
            there("delete", fault.rid, "--timeout=30s")
        objects = (fault.right,) if fault.right else fault.cure
        if objects:
            there.apply(*objects)
    return faults


@pytest.fixture(scope="module")
def broken_again(corrected: dict[str, Fault], namespace: Kubectl) -> dict[str, Fault]:
    """What served, changed for the worse."""
    for name in CORRECTED:
        wait_ready(namespace, name, timeout_s=SLOWLY_S)
    for name in CORRECTED:
        namespace.apply(corrected[name].wrong)
    return corrected


def build_holder() -> Json:
    """Takes all GPUs of the node."""
    container = {"name": "main", "image": IMAGE, "command": ["sleep", "3600"], "securityContext": RESTRICTED}
    container["resources"] = {"limits": {GPU: "4"}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "holder"}, "spec": spec}


def predict(gateway: str, fault: Fault) -> httpx.Response:
    path = f"/{fault.namespace}/{fault.name}/v2/models/{fault.model or fault.name}/infer"
    return httpx.post(f"http://{gateway}{path}", json=fault.question, trust_env=False, timeout=20)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_wrong_is_told(faults: dict[str, Fault], namespace: Kubectl, name: str) -> None:
    fault = faults[name]
    there = namespace.within(fault.namespace)
    condition = wait_reason(there, name, fault.reason, timeout_s=SLOWLY_S)
    assert condition["status"] == "False"
    for words in fault.words:
        assert words in condition["message"]
    assert PASSWORD not in condition["message"]

    def find_event() -> bool:
        told = [each for each in list_events(there, name) if each["reason"] == fault.reason]
        return any(each["type"] == "Warning" and fault.words[0] in each["message"] for each in told)

    eventually(find_event, timeout_s=10, explain=lambda: describe(there, name))
    row = there("get", "md", name, "--no-headers").split()
    assert row[1:3] == ["False", fault.reason]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_put_right_gets_ready(corrected: dict[str, Fault], namespace: Kubectl, gateway: str, name: str) -> None:
    fault = corrected[name]
    there = namespace.within(fault.namespace)
    wait_ready(there, name, timeout_s=SLOWLY_S)
    assert predict(gateway, fault).status_code == 200, describe(there, name)


@pytest.mark.parametrize("name", CORRECTED)
def test_what_served_goes_on_when_it_is_changed_for_the_worse(
    broken_again: dict[str, Fault], namespace: Kubectl, gateway: str, name: str
) -> None:
    fault = broken_again[name]
    condition = wait_reason(namespace, name, fault.reason, timeout_s=SLOWLY_S)
    status = read_status(namespace, name)
    assert condition["message"].startswith(f"still serving {status['activeRevision']}"), condition
    for words in fault.words:
        assert words in condition["message"]
    assert find_condition(status, "Available")["status"] == "True"
    assert predict(gateway, fault).status_code == 200
    # And back: that revision is still there.
    began = status["activeRevision"]
    assert fault.right
    namespace.apply(fault.right)
    wait_ready(namespace, name, timeout_s=15)
    assert read_status(namespace, name)["activeRevision"] == began
