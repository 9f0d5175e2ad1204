"""A ModelDeployment's life on a real node, as a person with kubectl sees it: digits, with Triton, from S3."""

import base64
import json
import time
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import yaml

from tests.e2e.bucket import Bucket
from tests.e2e.cluster import IMAGE, RESTRICTED, Kubectl, eventually
from tests.e2e.installation import read_images
from tests.e2e.load import Load
from tests.e2e.models import (
    ask,
    build,
    build_digits,
    build_doubler,
    build_secret,
    describe,
    find_condition,
    list_events,
    list_pictures,
    list_pods,
    read_status,
    wait_ready,
)

pytestmark = pytest.mark.timeout(240)

NAMESPACE = "test-serving"
CANARY = "blue-42"
IMAGE_TENSOR = np.zeros((1, 64), np.float32)
SLOW_LOAD = """
import time
import pathlib


class Slow:
    def load(self, context):
        assert list(pathlib.Path(context.model_dir).iterdir())
        time.sleep(4)

    def predict(self, inputs):
        return inputs
"""
POST = """
import base64, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], base64.b64decode(sys.argv[2]), {"content-type": "image/png"})
try:
    print(urllib.request.urlopen(request, timeout=20).read().decode())
except urllib.error.HTTPError as error:
    sys.exit(f"{error.code} {error.headers['x-forebay-reason']}")
"""
# The kubelet looks at a pod's ConfigMaps about once a minute.
KUBELET_S = 150


def build_extended(bucket: Bucket) -> dict[str, Any]:
    """digits, with something of everything that podTemplate is for."""
    manifest = build_digits(uri="s3://models/digits", secret="store")
    template = manifest["spec"]["predictor"]["podTemplate"]
    manifest["spec"]["predictor"]["podTemplate"] = {
        "metadata": {"labels": {"team": "vision"}, "annotations": {"example.com/note": "hello"}},
        "spec": {
            **template["spec"],
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "volumes": [{"name": "extra", "emptyDir": {}}],
            "containers": [
                {
                    "name": "predictor",
                    "env": [{"name": "COLOUR", "valueFrom": {"secretKeyRef": {"name": "colours", "key": "main"}}}],
                    "volumeMounts": [{"name": "extra", "mountPath": "/mnt/extra"}],
                },
                {
                    "name": "neighbour",
                    "image": IMAGE,
                    "command": ["sh", "-c", "echo here > /mnt/extra/neighbour; trap exit TERM; sleep 3600 & wait"],
                    "securityContext": RESTRICTED | {"runAsUser": 1000},
                    "volumeMounts": [{"name": "extra", "mountPath": "/mnt/extra"}],
                },
            ],
        },
    }
    return manifest


@pytest.fixture(scope="module")
def digits(namespace: Kubectl, gateway: str, bucket: Bucket) -> Kubectl:
    """Applied, and ready."""
    namespace.apply(build_secret("store", bucket.credentials), build_secret("colours", {"main": CANARY}))
    manifest = yaml.safe_dump(build_extended(bucket))
    began = time.monotonic()
    said = namespace("apply", "-f", "-", given=manifest)
    assert said == "modeldeployment.forebay.dev/digits created\n"
    waited = namespace.run("wait", "md/digits", "--for=condition=Ready", "--timeout=90s", timeout_s=100)
    assert waited.returncode == 0, waited.stderr + describe(namespace, "digits")
    print(f"ready {time.monotonic() - began:.1f} s after kubectl apply")
    return namespace


@pytest.fixture(scope="module")
def shallow(namespace: Kubectl, gateway: str) -> str:
    """The pod of a model whose queue gets another depth. The kubelet tells it while other tests run."""
    namespace.apply(build_doubler("shallow"))
    wait_ready(namespace, "shallow")
    (pod,) = list_pods(namespace, "shallow")
    namespace("patch", "md", "shallow", "--type=merge", "-p", json.dumps({"spec": {"queue": {"depth": 7}}}))
    return str(pod["metadata"]["uid"])


@pytest.fixture(scope="module")
def client(digits: Kubectl) -> Kubectl:
    """kubectl beside a pod called `client`, with Python in it."""
    image = read_images(digits)["runtime"]
    container = {"name": "client", "image": image, "command": ["sleep", "3600"], "securityContext": RESTRICTED}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    digits.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec})
    digits("wait", "pod/client", "--for=condition=Ready", "--timeout=60s", timeout_s=70)
    return digits


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/{NAMESPACE}/digits/predict", {}),
        ("/predict", {"host": f"digits.{NAMESPACE}"}),
        ("/predict", {"host": f"digits.{NAMESPACE}.svc.cluster.local"}),
        ("/predict", {"host": f"digits.{NAMESPACE}.example.com"}),
        ("/predict", {"forebay-deployment": f"{NAMESPACE}/digits"}),
    ],
)
@pytest.mark.usefixtures("digits", "shallow")
def test_a_picture_is_predicted(gateway: str, path: str, headers: dict[str, str]) -> None:
    right = 0
    for picture in list_pictures()[:6]:
        answer = httpx.post(
            f"http://{gateway}{path}",
            content=picture.read_bytes(),
            headers={"content-type": "image/png", **headers},
            trust_env=False,
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        right += answer.json()["label"] == int(picture.name[0])
    assert right >= 5


@pytest.mark.parametrize("way", ["authority", "header"])
@pytest.mark.usefixtures("digits")
def test_tritonclient_over_grpc(gateway: str, way: str) -> None:
    options = [("grpc.default_authority", f"digits.{NAMESPACE}.example.com")] if way == "authority" else None
    headers = {"forebay-deployment": f"{NAMESPACE}/digits"} if way == "header" else None
    given = tritonclient.grpc.InferInput("image", [1, 64], "FP32")
    given.set_data_from_numpy(IMAGE_TENSOR)
    with tritonclient.grpc.InferenceServerClient(gateway, channel_args=options) as grpc_client:
        assert grpc_client.is_model_ready("digits", headers=headers)
        found = grpc_client.infer("digits", [given], headers=headers)
    assert found.as_numpy("probabilities").shape == (1, 10)


@pytest.mark.usefixtures("digits")
def test_tritonclient_over_rest(gateway: str) -> None:
    given = tritonclient.http.InferInput("image", [1, 64], "FP32")
    given.set_data_from_numpy(IMAGE_TENSOR)
    with tritonclient.http.InferenceServerClient(f"{gateway}/{NAMESPACE}/digits") as rest_client:
        assert rest_client.infer("digits", [given]).as_numpy("probabilities").shape == (1, 10)


@pytest.mark.parametrize("host", [f"digits.{NAMESPACE}", f"digits.{NAMESPACE}.svc", f"digits.{NAMESPACE}.svc:80"])
def test_a_picture_is_predicted_from_inside_the_cluster(client: Kubectl, host: str) -> None:
    picture = list_pictures()[-1]
    content = base64.b64encode(picture.read_bytes()).decode()
    said = client("exec", "client", "--", "python", "-c", POST, f"http://{host}/predict", content)
    assert json.loads(said)["label"] == int(picture.name[0])


def test_a_host_without_the_namespace_might_be_anybodys(client: Kubectl) -> None:
    asked = client.run("exec", "client", "--", "python", "-c", POST, "http://digits/predict", "")
    assert asked.stderr.splitlines()[0] == "404 no-such-deployment"


def test_how_far_the_model_is(namespace: Kubectl, gateway: str, bucket: Bucket) -> None:
    for part in range(3):
        bucket.put(f"big/part-{part}", np.random.default_rng(part).bytes(4_000_000))
    with (
        bucket.slowly(2_000_000) as url,
        namespace.watch("md", "--field-selector=metadata.name=big", path=".status.components[*].model") as lines,
    ):
        namespace.apply(build_secret("slow-store", bucket.credentials_by(url)))
        custom = {"custom": {"script": SLOW_LOAD}}
        model = {"uri": "s3://models/big", "credentials": {"secretName": "slow-store"}}
        namespace.apply(build("big", predictor=custom, model=model))
        wait_ready(namespace, "big")
        eventually(lambda: '"Ready"' in "".join(lines), timeout_s=10)
    seen = [json.loads(line) for line in lines if line.strip()]
    states = list(dict.fromkeys(each["state"] for each in seen))
    assert states == ["Pending", "Downloading", "Loading", "Ready"], seen
    progress = [each["progressPct"] for each in seen if "progressPct" in each]
    assert any(0 < each < 100 for each in progress), seen
    assert progress == sorted(progress)
    namespace("delete", "md", "big", "--wait=false")


def test_what_kubectl_shows(digits: Kubectl) -> None:
    head, row = (line.split() for line in digits("get", "md", "digits").splitlines())
    assert head == ["NAME", "READY", "REASON", "INSTANCES", "URL", "AGE"]
    assert row[:5] == ["digits", "True", "Ready", "2/2", f"http://digits.{NAMESPACE}.svc.cluster.local"]
    assert "s3://models/digits" in digits("get", "md", "digits", "--output=wide")
    told = digits("describe", "md", "digits")
    for words in ("is ready, and gets all requests", "TrafficSwitched", "Observed Generation"):
        assert words in told
    assert CANARY not in told
    explained = digits("explain", "modeldeployment.spec.queue.depth")
    assert "How many requests wait" in " ".join(explained.split())
    events = {each["reason"] for each in list_events(digits, "digits")}
    assert {"TrafficSwitched", "Ready"} <= events
    for condition in ("Available", "PredictorReady", "TransformerReady"):
        digits("wait", "md/digits", f"--for=condition={condition}", "--timeout=1s")
    digits("wait", "md/digits", "--for=condition=Progressing=False", "--timeout=1s")
    assert "modeldeployment.forebay.dev/digits" in digits("get", "all", "--output=name")


def test_what_podtemplate_says_arrives_in_pods(digits: Kubectl) -> None:
    (pod,) = list_pods(digits, "digits", "predictor")
    assert pod["metadata"]["labels"]["team"] == "vision"
    assert pod["metadata"]["annotations"]["example.com/note"] == "hello"
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert {"key": "gpu", "operator": "Exists"} in pod["spec"]["tolerations"]
    name = pod["metadata"]["name"]
    assert digits("exec", name, "-c", "predictor", "--", "sh", "-c", "echo $COLOUR").strip() == CANARY
    assert digits("exec", name, "-c", "predictor", "--", "cat", "/mnt/extra/neighbour") == "here\n"
    assert digits("get", "pods", "--selector=team=vision", "--output=name").strip() == f"pod/{name}"


def test_scale(digits: Kubectl) -> None:
    before = [pod["metadata"]["uid"] for pod in list_pods(digits, "digits")]
    digits("scale", "md", "digits", "--replicas=2")
    wait_ready(digits, "digits")
    status = read_status(digits, "digits")
    assert (status["replicas"], status["readyReplicas"], status["instances"]) == (2, 2, "3/3")
    scale = json.loads(
        digits("get", "--raw", f"/apis/forebay.dev/v1alpha1/namespaces/{NAMESPACE}/modeldeployments/digits/scale")
    )
    assert scale["status"]["replicas"] == 2
    selected = digits("get", "pods", f"--selector={scale['status']['selector']}", "--output=name").split()
    assert len(selected) == 2
    assert {pod["metadata"]["uid"] for pod in list_pods(digits, "digits")} > set(before)
    assert "Scaled" in {each["reason"] for each in list_events(digits, "digits")}
    digits("scale", "md", "digits", "--replicas=1")
    wait_ready(digits, "digits")
    eventually(lambda: len(list_pods(digits, "digits", "predictor")) == 1)


def test_a_changed_script_takes_over_and_no_request_fails(digits: Kubectl, gateway: str) -> None:
    before = read_status(digits, "digits")
    (predictor,) = list_pods(digits, "digits", "predictor")
    script = digits.get("md", "digits")["spec"]["transformer"]["custom"]["script"]
    changed = script.replace('"label": int(label)', '"label": int(label), "script": "second"')
    assert changed != script
    picture = list_pictures()[0].read_bytes()
    path = f"/{NAMESPACE}/digits/predict"
    patch = {"spec": {"transformer": {"custom": {"script": changed}}}}
    with Load(gateway, path=path, body=picture, tensor=("image", IMAGE_TENSOR), rate=30) as load:
        digits("patch", "md", "digits", "--type=merge", "-p", json.dumps(patch))
        wait_ready(digits, "digits")
        load.wait_for(60)
        # The pods before end meanwhile.
        eventually(lambda: len(digits.get("pods", "--selector=app.kubernetes.io/instance=digits")["items"]) == 2)
    load.check()
    after = read_status(digits, "digits")
    assert after["activeRevision"] == after["targetRevision"] != before["activeRevision"]
    answer = httpx.post(f"http://{gateway}{path}", content=picture, trust_env=False, timeout=30)
    assert answer.json()["script"] == "second"
    assert answer.headers["x-forebay-revision"] == after["activeRevision"]
    # What didn't change goes on: no model is loaded again.
    assert [pod["metadata"]["uid"] for pod in list_pods(digits, "digits", "predictor")] == [
        predictor["metadata"]["uid"]
    ]


def test_delete_leaves_nothing(digits: Kubectl, gateway: str) -> None:
    kinds = "pods,deployments,replicasets,services,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies"
    kinds += ",controllerrevisions"
    selector = "--selector=app.kubernetes.io/instance=digits"
    assert digits("get", kinds, selector, "--output=name")
    digits("delete", "md", "digits", "--timeout=10s")
    eventually(lambda: not digits("get", kinds, selector, "--output=name"), timeout_s=90)
    answer = ask(gateway, NAMESPACE, "digits")
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (404, "no-such-deployment")


def test_another_depth_is_live_and_no_pod_restarts(namespace: Kubectl, shallow: str) -> None:
    wait_ready(namespace, "shallow")
    (pod,) = list_pods(namespace, "shallow")
    name = pod["metadata"]["name"]
    code = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9901/runtime?format=json').read().decode())"
    key = "circuit_breakers.queue.default.max_pending_requests"

    def read_depth() -> bool:
        said = json.loads(namespace("exec", name, "-c", "predictor", "--", "python", "-c", code))
        return bool(said["entries"][key]["final_value"] == "7")

    eventually(read_depth, timeout_s=KUBELET_S, explain=lambda: describe(namespace, "shallow"))
    assert pod["metadata"]["uid"] == shallow
    assert not any(each["restartCount"] for each in namespace.get("pod", name)["status"]["containerStatuses"])
    assert find_condition(read_status(namespace, "shallow"))["status"] == "True"
