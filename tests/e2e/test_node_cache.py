"""The node's cache on a real kubelet: what its pods get, what people see, and what becomes of it without its agent."""

import json
import os
import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.bucket import Bucket
from tests.e2e.cluster import HACK, RESTRICTED, Kubectl, eventually
from tests.e2e.installation import CHART, install, read_images
from tests.e2e.models import build, build_secret, describe, read_status, wait_ready, wait_reason
from tests.node.moto import ROLE, SESSION, read_claims, serve_moto
from tests.node.tap import Tap
from tests.unit.serving.environments.package_index import PackageIndex, serve_index

pytestmark = pytest.mark.timeout(600)

MIB = 1024 * 1024
WEIGHTS = random.Random(5).randbytes(24 * MIB)
AGENTS = "forebay-node"
SCRIPT = """
import hashlib
import numpy as np
from forebay.serving import Tensor


class Hasher:
    inputs = [Tensor("x", "FP32", [-1, 1])]
    outputs = [Tensor("sha256", "BYTES", [-1])]

    def load(self, context):
        self.digest = hashlib.sha256((context.model_dir / "weights.bin").read_bytes()).hexdigest()

    def predict(self, inputs):
        return {"sha256": [self.digest] * len(inputs["x"])}
"""

FRONT = """
import front
from forebay.serving import Tensor


class Front:
    inputs = [Tensor("x", "FP32", [-1, 1])]
    outputs = [Tensor("version", "BYTES", [-1])]

    def predict(self, inputs):
        return {"version": [front.VERSION] * len(inputs["x"])}
"""


@pytest.fixture(scope="module")
def tap(bucket: Bucket) -> Tap:
    return Tap(bucket.port, bucket.address)


@pytest.fixture(scope="module")
def index(bucket: Bucket) -> Iterator[PackageIndex]:
    with serve_index(bucket.address) as index:
        yield index


@pytest.fixture(scope="module")
def moto(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tap, str]]:
    """S3 and STS, behind a tap that has this address."""
    with serve_moto(tmp_path_factory.mktemp("moto"), bucket.address) as port:
        tap = Tap(port, bucket.address)
        with tap.open() as url:
            yield tap, url


@pytest.fixture(scope="module")
def cached(namespace: Kubectl, gateway: str, bucket: Bucket, tap: Tap, moto: tuple[Tap, str]) -> Iterator[Kubectl]:
    """A namespace that enforces `restricted`, on a cluster whose nodes have caches."""
    state = Path(namespace.kubeconfig).parent
    folders = []
    if (state / "kubelet").exists():
        folders = [f"--set=nodeCache.kubeletDir={state}/kubelet", f"--set=nodeCache.path={state}/node-cache"]
    sts = [{"name": "AWS_ENDPOINT_URL_STS", "value": moto[1]}]
    options = ["--set=nodeCache.enabled=true", "--set=nodeCache.sizeLimit=2Gi", *folders]
    install(namespace, CHART, *options, f"--set-json=nodeCache.extraEnv={json.dumps(sts)}")
    namespace.within(AGENTS)("rollout", "status", "daemonset/forebay-node", "--timeout=120s", timeout_s=130)
    bucket.put("cached/weights.bin", WEIGHTS)
    bucket.put("cached/small", b"x")
    with tap.open() as url:
        namespace.apply(build_secret("store", bucket.credentials_by(url)))
        yield namespace
    namespace.run("delete", "md,jobs,mv", "--all", "--wait=false")
    # The kubelet can't take a volume away whose driver has gone: such a pod, and its namespace, would stay.
    namespace.run("wait", "--for=delete", "pods", "--all", "--timeout=180s", timeout_s=190)
    install(namespace)


def build_job(kubectl: Kubectl, count: int, uri: str) -> dict[str, Any]:
    """Pods as a person could write them: they wait for the model, and look at it."""
    look = (
        "import hashlib,pathlib; print(hashlib.sha256(pathlib.Path('/m/files/weights.bin').read_bytes()).hexdigest())"
    )
    container = {
        "image": read_images(kubectl)["runtime"],
        "securityContext": RESTRICTED | {"runAsUser": 1000},
        "volumeMounts": [{"name": "model", "mountPath": "/m", "readOnly": True}],
    }
    wait = ["python", "-m", "forebay.serving.storage", f"--uri={uri}", "--to=/nowhere", "--cached-at=/m"]
    attributes = {"uri": uri}
    volume = {"driver": "models.forebay.dev", "readOnly": True, "volumeAttributes": attributes}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "ten"},
        "spec": {
            "parallelism": count,
            "completions": count,
            "backoffLimit": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "initContainers": [{"name": "download", **container, "command": wait}],
                    "containers": [{"name": "look", **container, "command": ["python", "-c", look]}],
                    "volumes": [{"name": "model", "csi": {**volume, "nodePublishSecretRef": {"name": "store"}}}],
                }
            },
        },
    }


def build_hasher(name: str, uri: str, secret: str) -> dict[str, Any]:
    model = {"uri": uri, "credentials": {"secretName": secret}}
    return build(name, predictor={"custom": {"script": SCRIPT}}, model=model)


def build_front(name: str, index: PackageIndex, requirement: str, **predictor: Any) -> dict[str, Any]:
    custom = {"script": FRONT, "requirements": [requirement], "index": {"url": index.url}}
    return build(name, predictor={"custom": custom, **predictor})


def read_counts(kubectl: Kubectl) -> dict[str, int]:
    """What became of the volumes of the one agent, by its metrics."""
    look = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9090/metrics').read().decode())"
    text = kubectl.within(AGENTS)("exec", "daemonset/forebay-node", "--", "python", "-c", look)
    found = re.findall(r'^forebay_node_cache_volumes_total{result="(\w+)"} (\d+)', text, re.MULTILINE)
    return {result: int(count) for result, count in found}


def read_cache(kubectl: Kubectl) -> dict[str, Any]:
    """The one node's NodeCache; empty while there is none."""
    items = kubectl.get("nodecaches")["items"]
    return dict(items[0]) if items else {}


def find_model(kubectl: Kubectl, uri: str, state: str) -> dict[str, Any]:
    models = read_cache(kubectl).get("status", {}).get("models", [])
    return next((dict(each) for each in models if each["uri"] == uri and each["state"] == state), {})


def test_ten_pods_are_one_download(cached: Kubectl, tap: Tap) -> None:
    cached.apply(build_job(cached, 10, "s3://models/cached"))
    cached("wait", "--for=condition=Complete", "job/ten", "--timeout=300s", timeout_s=310)
    # Of 24 MiB, three pieces. The smallest file shows, too, that each pod may read.
    assert tap.fetched("cached/weights.bin") == 3
    assert tap.fetched("cached/small") == 11
    found = eventually(lambda: find_model(cached, "s3://models/cached", "Cached"))
    assert found["bytes"] == len(WEIGHTS) + 1
    cached("delete", "job", "ten")


def test_a_model_is_served_from_it(cached: Kubectl, tap: Tap) -> None:
    before = tap.fetched("cached/weights.bin")
    cached.apply(build_hasher("hasher", "s3://models/cached", "store"))
    wait_ready(cached, "hasher")
    assert tap.fetched("cached/weights.bin") == before
    found = eventually(lambda: (model := find_model(cached, "s3://models/cached", "Cached")).get("pods") == 1 and model)
    assert found["digest"].startswith("sha256:")
    node = cached.get("nodes")["items"][0]["metadata"]
    cache = read_cache(cached)
    assert cache["metadata"]["name"] == node["name"]
    assert cache["metadata"]["ownerReferences"][0]["uid"] == node["uid"]
    table = cached("get", "nc").splitlines()
    assert table[0].split() == ["NAME", "USED", "LIMIT", "CACHED", "DOWNLOADING", "FAILED", "MODELS", "AGE"]
    assert "s3://models/cached: Cached" in table[1]
    # Nobody writes what didn't change.
    version = cache["metadata"]["resourceVersion"]
    cached("delete", "md", "hasher")
    eventually(lambda: find_model(cached, "s3://models/cached", "Cached").get("pods") == 0, timeout_s=90)
    assert read_cache(cached)["metadata"]["resourceVersion"] != version


def test_what_is_wrong_is_said_as_ever(cached: Kubectl, bucket: Bucket) -> None:
    wrong = {**bucket.credentials, "AWS_SECRET_ACCESS_KEY": "not-the-readers"}
    cached.apply(build_secret("wrong", wrong), build_hasher("refused", "s3://models/cached", "wrong"))
    condition = wait_reason(cached, "refused", "ModelDownloadFailed", timeout_s=180)
    assert "(AccessDenied)" in condition["message"]
    assert eventually(lambda: find_model(cached, "s3://models/cached", "Failed"))["message"].startswith("AccessDenied")
    # The Secret is corrected, and nothing else.
    cached.apply(build_secret("wrong", bucket.credentials))
    wait_ready(cached, "refused", timeout_s=300)
    cached("delete", "md", "refused")


def test_two_pods_of_a_script_are_one_install(cached: Kubectl, index: PackageIndex, gateway: str) -> None:
    index.add_wheel("front", "1.0", needs=["back"])
    index.add_wheel("back", "2.0")
    before = read_counts(cached)
    cached.apply(build_front("front", index, "front==1.0", autoscaling={"min": 2, "max": 2, "target": {"cpu": 70}}))
    wait_ready(cached, "front")
    after = read_counts(cached)
    assert (after["miss"] - before["miss"], after["hit"] - before["hit"]) == (1, 1)
    title = f"libraries front==1.0 from {index.url}"
    assert eventually(lambda: find_model(cached, title, "Cached"))["pods"] == 2
    assert f"{title}: Cached" in cached("get", "nc")
    # As the README has it.
    wanted = next(
        line for line in (HACK.parent / "README.md").read_text().splitlines() if "kubectl get nc node-1 -o js" in line
    )
    command = shlex.split(wanted.removeprefix("$ kubectl ").replace("node-1", read_cache(cached)["metadata"]["name"]))
    assert f"{title}: Cached" in cached(*command).splitlines()
    asked = [*index.asked]
    # Another ModelDeployment of the same libraries.
    cached.apply(build_front("second", index, "front==1.0"))
    wait_ready(cached, "second")
    assert index.asked == asked
    answer = httpx.post(f"http://{gateway}/{cached.namespace}/second/predict", json=[[1.0]], timeout=30)
    assert answer.json() == ["1.0"], answer.text
    cached("delete", "md", "front", "second")


def test_libraries_that_are_not_there_are_said_as_ever(cached: Kubectl, index: PackageIndex) -> None:
    cached.apply(build_front("missing", index, "nope"))
    condition = wait_reason(cached, "missing", "EnvironmentFailed", timeout_s=180)
    assert "(NoSuchPackage): the index has no package nope: correct the name" in condition["message"]
    found = eventually(lambda: find_model(cached, f"libraries nope from {index.url}", "Failed"))
    assert found["message"].startswith("NoSuchPackage")
    # It is there by now.
    index.add_wheel("nope", "1.0")
    index.add_wheel("front", "1.0")
    cached.apply(build_front("missing", index, "front==1.0"))
    wait_ready(cached, "missing", timeout_s=300)
    cached("delete", "md", "missing")


def test_a_pods_role_reads_its_model(cached: Kubectl, moto: tuple[Tap, str]) -> None:
    tap, url = moto
    account = {"name": "reader", "annotations": {"eks.amazonaws.com/role-arn": ROLE}}
    hasher = build_hasher("roles", "s3://roles/m", "where")
    hasher["spec"]["predictor"]["podTemplate"]["spec"]["serviceAccountName"] = "reader"
    cached.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        build_secret("where", {"AWS_ENDPOINT_URL_S3": url, "AWS_REGION": "us-east-1"}),
        hasher,
    )
    wait_ready(cached, "roles")
    claims = read_claims(tap)
    assert (claims["aud"], claims["role"]) == (["sts.amazonaws.com"], ROLE)
    assert claims["sub"] == f"system:serviceaccount:{cached.namespace}:reader"
    assert tap.signers, "no request was signed"
    assert all(each.startswith(SESSION) for each in tap.signers)
    cached("delete", "md", "roles")


@pytest.fixture
def third(bucket: Bucket) -> Iterator[None]:
    """s3://models/digits/3. The model beside it is another test's."""
    files = {"digits/3/weights.bin": WEIGHTS[: 4 * MIB], "digits/3/small": b"x"}
    for key, content in files.items():
        bucket.put(key, content)
    yield
    for key in files:
        bucket.drop(key)


@pytest.mark.usefixtures("third")
def test_a_version_is_there_before_it_is_served(cached: Kubectl, tap: Tap) -> None:
    """What the README shows."""
    text = (HACK.parent / "README.md").read_text()
    manifest = yaml.safe_load(text.partition("# prefetched.yaml\n")[2].partition("```")[0])
    secret = cached.get("secret", "store")["data"]
    cached.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "models-s3"}, "data": secret}, manifest)
    cached("wait", "--for=condition=Prefetched", "mv/digits-3", "--timeout=180s", timeout_s=190)
    eventually(lambda: find_model(cached, "s3://models/digits/3", "Cached").get("pods") == 1)
    assert tap.fetched("digits/3/weights.bin") == 1
    hasher = build_hasher("early", "s3://models/digits/3", "models-s3")
    hasher["spec"]["model"] = {"version": "digits:3"}
    cached.apply(hasher)
    wait_ready(cached, "early", timeout_s=180)
    assert tap.fetched("digits/3/weights.bin") == 1
    # Nobody is to have it any more.
    cached("patch", "mv", "digits-3", "--type=merge", "--patch", '{"spec": {"prefetch": null}}')
    eventually(lambda: not cached.get("daemonsets")["items"], timeout_s=60)
    cached("delete", "md/early", "mv/digits-3")


def test_an_agent_that_dies_is_not_missed(cached: Kubectl, bucket: Bucket, tap: Tap) -> None:
    # Nothing that a run before left half way.
    bucket.put("held/weights.bin", os.urandom(len(WEIGHTS)))
    tap.hold_after(20 * MIB)
    cached.apply(build_hasher("held", "s3://models/held", "store"))
    tap.await_hold(180)
    eventually(
        lambda: any(
            each.get("model", {}).get("progressPct") for each in read_status(cached, "held").get("components", [])
        ),
        timeout_s=120,
        explain=lambda: describe(cached, "held"),
    )
    assert eventually(lambda: find_model(cached, "s3://models/held", "Downloading"))["pods"] == 1
    agents = cached.within(AGENTS)
    agents("delete", "pods", "--all", "--grace-period=0", "--force")
    tap.let_go()
    agents("rollout", "status", "daemonset/forebay-node", "--timeout=120s", timeout_s=130)
    # The kubelet tells the new one soon: whenever it looks at the pod.
    wait_ready(cached, "held", timeout_s=300)
    # The files are served by what serves them, whoever brought them.
    assert find_model(cached, "s3://models/held", "Cached")["bytes"] == len(WEIGHTS)
