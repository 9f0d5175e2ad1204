"""Several instances of a model in one Triton, in a real pod: more under load, fewer after it, and one pod all along."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.bucket import Bucket
from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.models import build, build_secret, describe, list_pods, wait_ready
from tests.local.serving_session import REPOSITORIES, slow_body

pytestmark = pytest.mark.timeout(400)

CLIENTS = 8
INSTANCES = {"max": 2, "cooldown": "5s"}


@pytest.fixture(scope="module")
def counted(namespace: Kubectl, gateway: str, bucket: Bucket) -> Iterator[Kubectl]:
    bucket.put_folder("counted", REPOSITORIES / "counted")
    container = {"name": "predictor", "env": [{"name": "NO_MORE", "value": "/nowhere"}]}
    predictor = {
        "triton": {"instances": INSTANCES}, "concurrency": 2, "resources": {"cpu": "50m", "memory": "512Mi"},
        "podTemplate": {"spec": {"containers": [container]}},
    }  # fmt: skip
    model = {"uri": "s3://models/counted", "credentials": {"secretName": "s3"}}
    namespace.apply(build_secret("s3", bucket.credentials), build("counted", predictor=predictor, model=model))
    wait_ready(namespace, "counted", timeout_s=180)
    yield namespace
    namespace("delete", "md", "counted")


def count_instances(kubectl: Kubectl) -> int:
    """As the pod's metrics tell."""
    (pod,) = list_pods(kubectl, "counted")
    text = httpx.get(f"http://{pod['status']['podIP']}:9090/metrics", trust_env=False, timeout=10).text
    found = re.search(r"^forebay_model_instances(?:{.*})? (\S+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def test_instances_follow_the_load_within_one_pod(counted: Kubectl, gateway: str) -> None:
    url = f"http://{gateway}/{counted.namespace}/counted/v2/models/counted/infer"
    answers: Counter[int] = Counter()
    stopping = threading.Event()
    (before,) = list_pods(counted, "counted")

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not stopping.is_set():
                answers[client.post(url, json=slow_body(0.2)).status_code] += 1

    eventually(lambda: count_instances(counted) == 1, timeout_s=60, explain=lambda: describe(counted, "counted"))
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask) for _ in range(CLIENTS)]
        try:
            eventually(lambda: count_instances(counted) == 2, timeout_s=120, explain=lambda: tell(counted))
        finally:
            stopping.set()
        for each in asking:
            each.result(90)
    assert set(answers) == {200}, answers
    eventually(lambda: count_instances(counted) == 1, timeout_s=120, explain=lambda: tell(counted))
    (after,) = list_pods(counted, "counted")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def tell(kubectl: Kubectl) -> str:
    logs = kubectl.run("logs", "-l", "app.kubernetes.io/instance=counted", "-c", "instances", "--tail=20")
    return f"{describe(kubectl, 'counted')}\n{logs.stdout}{logs.stderr}"
