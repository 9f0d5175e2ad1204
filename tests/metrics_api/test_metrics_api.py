"""What autoscalers are told, asked of real sidecars through a real apiserver."""

import json
import math
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from forebay.metrics import LOAD_FILTER
from tests import loopback
from tests.api.apiserver import ControlPlane
from tests.metrics_api.site import API, HOST, LABELS, NAMESPACE, OWN, Instance, MetricsSite, answering, wait_for


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory, site: MetricsSite) -> Iterator[list[Instance]]:
    """Two instances, m-0 and m-1."""
    made = []
    for number in range(2):
        address = f"127.0.2.{number + 1}"
        made.append(Instance(tmp_path_factory.mktemp(f"instance-{number}"), address, site.sidecar_port))
        site.put_pod(f"m-{number}", address, app="m")
    yield made
    for each in made:
        each.stop()


def test_what_there_is_to_ask_for(site: MetricsSite, plane: ControlPlane) -> None:
    found = wait_for(lambda: (answer := site.get("")).is_success and answer.json())
    assert {each["name"] for each in found["resources"]} == {
        "pods/forebay_queue", "pods/forebay_queue_seconds", "pods/forebay_requests_per_second",
        "pods/forebay_gpu_utilization",
    }  # fmt: skip
    told = plane.kubectl("get", "apiservice", "v1beta2.custom.metrics.k8s.io").stdout
    assert "True" in told.split()


def test_what_works_and_what_waits_counts(site: MetricsSite, instances: list[Instance]) -> None:
    wait_for(lambda: site.values("forebay_queue") == {"m-0": "0", "m-1": "0"})
    sent = instances[0].send(5)
    wait_for(lambda: site.values("forebay_queue") == {"m-0": "5", "m-1": "0"})
    found = site.get(f"/namespaces/{NAMESPACE}/pods/m-0/forebay_queue").raise_for_status().json()
    (only,) = found["items"]
    assert only["describedObject"] == {
        "kind": "Pod", "namespace": NAMESPACE, "name": "m-0", "apiVersion": "/v1",
    }  # fmt: skip
    instances[0].let_go()
    assert [each.result() for each in sent] == [200] * 5
    wait_for(lambda: site.values("forebay_queue")["m-0"] == "0")


def test_rates_are_over_the_time_since_they_were_asked_for(site: MetricsSite, instances: list[Instance]) -> None:
    # The first question is where they begin.
    assert site.get(f"/namespaces/{NAMESPACE}/pods/m-1/forebay_queue_seconds").status_code == 404
    site.get(f"/namespaces/{NAMESPACE}/pods/m-1/forebay_requests_per_second")
    sent = instances[1].send(3)
    wait_for(lambda: site.values("forebay_queue")["m-1"] == "3")
    time.sleep(1)  # the third waits
    instances[1].let_go()
    assert [each.result() for each in sent] == [200] * 3

    def find_wait() -> str:
        # Envoy adds up its times every second.
        value = site.values("forebay_queue_seconds").get("m-1", "0")
        return "" if value == "0" else value

    waited = wait_for(find_wait)
    assert 0.3 < float(waited.removesuffix("m")) / 1000 < 30
    rate = wait_for(lambda: site.values("forebay_requests_per_second").get("m-1"))
    assert rate != "0"


def test_who_is_silent_is_left_out_and_is_not_zero(site: MetricsSite, instances: list[Instance]) -> None:
    site.put_pod("dead-0", "127.0.2.9", app="dead")
    answer = wait_for(
        lambda: (
            (found := site.get(f"/namespaces/{NAMESPACE}/pods/*/forebay_queue", labelSelector="app=dead")).json()
            and "starting" in found.text
            and found
        )
    )
    assert answer.status_code == 404
    site.put_pod("m-dead", "127.0.2.9", app="m")
    wait_for(lambda: "m-dead" in site.plane.kubectl("get", "pods", "-n", NAMESPACE).stdout)
    assert set(site.values("forebay_queue")) == {"m-0", "m-1"}
    site.plane.kubectl("delete", "pod", "m-dead", "dead-0", "-n", NAMESPACE, "--force", "--grace-period=0")


def _say(text: str) -> "object":
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


def _drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b"#")
        handler.wfile.flush()
        time.sleep(0.1)


def _flood(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(2000):
        handler.wfile.write(b"x" * 65536)


def _lead_on(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("location", f"http://127.0.2.1:{handler.server.server_port}/stats/prometheus")
    handler.end_headers()


SERIES = 'envoy_cluster_upstream_rq_active{envoy_cluster_name="queue"} '


@pytest.mark.parametrize(
    "answer",
    [
        *(_say(f"{SERIES}{value}\n") for value in ("NaN", "+Inf", "-3", "1e300", "9" * 400, "many")),
        _say("\x00\xff"), _drip, _flood, _lead_on,
    ],
    ids=["NaN", "infinite", "negative", "huge", "long", "text", "binary", "dripping", "endless", "redirect"],
)  # fmt: skip
def test_a_hostile_instance_harms_nobody_else(
    answer: object, site: MetricsSite, instances: list[Instance], request: pytest.FixtureRequest
) -> None:
    name = f"bad-{request.node.callspec.id.lower()}"
    with answering("127.0.2.20", site.sidecar_port, answer):  # type: ignore[arg-type]
        site.put_pod(name, "127.0.2.20", app="m")
        wait_for(lambda: site.get(f"/namespaces/{NAMESPACE}/pods/{name}/forebay_queue").status_code == 404)
        found = site.values("forebay_queue")
        assert found.keys() == {"m-0", "m-1"}, "what isn't a count is none, and not zero"
        assert all(math.isfinite(float(value)) for value in found.values())
    site.plane.kubectl("delete", "pod", name, "-n", NAMESPACE, "--force", "--grace-period=0")


def test_questions_that_can_not_be_answered(site: MetricsSite, instances: list[Instance]) -> None:
    pods = f"/namespaces/{NAMESPACE}/pods"
    assert "there are forebay_queue" in site.get(f"{pods}/*/cpu").json()["message"]
    assert site.get(f"{pods}/*/forebay_queue", labelSelector="app in m").json()["code"] == 400
    assert site.get(f"{pods}/*/forebay_queue", labelSelector="app=nobody").json()["code"] == 404
    assert site.get("/namespaces/nowhere/pods/*/forebay_queue").json()["code"] == 404


def test_nobody_but_the_apiserver_is_answered(site: MetricsSite, plane: ControlPlane) -> None:
    url = f"https://{HOST}:{site.api_port}{API}"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(httpx.TransportError):
        httpx.get(url, verify=context, trust_env=False, headers={"X-Remote-User": "system:admin"})
    # A certificate of the same authority that is another's.
    folder = plane.ca.parent
    context.load_cert_chain(folder / "apiserver-kubelet-client.crt", folder / "apiserver-kubelet-client.key")
    assert httpx.get(url, verify=context, trust_env=False).status_code == 403


def test_the_sidecars_are_asked_for_little(instances: list[Instance], site: MetricsSite) -> None:
    url = f"http://127.0.2.1:{site.sidecar_port}/stats/prometheus"
    text = loopback.get(url, params={"filter": LOAD_FILTER}).text
    assert len([line for line in text.splitlines() if not line.startswith("#")]) == 3


def test_a_certificate_that_is_lost_is_made_anew(site: MetricsSite, tmp_path: Path) -> None:
    def read_bundle() -> str:
        found = site.client.get("/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.custom.metrics.k8s.io")
        return str(found.json()["spec"]["caBundle"])

    before = read_bundle()
    secret = f"/api/v1/namespaces/{OWN}/secrets/forebay-metrics-tls"
    headers = {"content-type": "application/merge-patch+json"}
    site.client.patch(secret, content=json.dumps({"data": None}), headers=headers).raise_for_status()
    site.stop()
    site.start()
    assert read_bundle() != before
    wait_for(lambda: site.get("").is_success)


def find_reason(site: MetricsSite, type_: str) -> str:
    conditions = site.plane.get("hpa", "scaled", "-n", NAMESPACE)["status"]["conditions"]
    return next(str(each["reason"]) for each in conditions if each["type"] == type_)


def test_an_autoscaler_follows_the_queue(site: MetricsSite, tmp_path: Path) -> None:
    """A real HorizontalPodAutoscaler, of a Deployment whose pods this test runs."""
    labels = {**LABELS, "app": "scaled"}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "scaled", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": "scaled"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "predictor", "image": "none"}]},
            },
        },
    }  # fmt: skip
    metric = {"metric": {"name": "forebay_queue"}, "target": {"type": "AverageValue", "averageValue": "2"}}
    autoscaler = {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaled", "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"},
            "minReplicas": 1, "maxReplicas": 5, "metrics": [{"type": "Pods", "pods": metric}],
        },
    }  # fmt: skip
    for each in (deployment, autoscaler):
        site.plane.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(each))

    def list_pods() -> list[str]:
        found = site.client.get(f"/api/v1/namespaces/{NAMESPACE}/pods", params={"labelSelector": "app=scaled"})
        return [each["metadata"]["name"] for each in found.json()["items"]]

    first = wait_for(list_pods)[0]
    instance = Instance(tmp_path / "scaled", "127.0.2.30", site.sidecar_port)
    try:
        # What the operator's status goes by: forebay.status.autoscaling.
        wait_for(lambda: find_reason(site, "ScalingActive") == "FailedGetPodsMetric")
        site.set_running(first, "127.0.2.30")
        sent = instance.send(7)
        wait_for(lambda: len(list_pods()) == 4)  # seven requests, two for each
        told = site.plane.kubectl("describe", "hpa", "scaled", "-n", NAMESPACE).stdout
        assert "ValidMetricFound" in told, told
        instance.let_go()
        assert [each.result() for each in sent] == [200] * 7
    finally:
        instance.stop()
