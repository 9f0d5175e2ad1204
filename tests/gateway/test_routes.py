"""Ways to a deployment through a real gateway, and what changes while it runs."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from forebay.local.ports import HOST, find_free_ports
from tests import loopback
from tests.gateway.site import Cluster, GatewaySite, ready, running, wait_for

SCRIPT = "class A:\n    def predict(self, inputs):\n        return inputs\n"


@pytest.fixture(scope="module")
def echo(tmp_path_factory, cluster: Cluster, site: GatewaySite, address: str) -> Iterator[None]:
    """Forebay's own server as an instance of `echo` (gRPC), and of `rest`."""
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT)
    http_port, grpc_port = find_free_ports(2)
    argv = ["--script", str(script), "--name", "echo", "--role", "predictor", "--host", "0.0.0.0"]
    argv += ["--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    with running([sys.executable, "-m", "forebay.serving", *argv]):
        for name, port in (("echo", grpc_port), ("rest", http_port)):
            cluster.put_slice(f"{name}-1", ready(address), port=port)
            cluster.put_deployment(name, traffic=[(f"{name}-1", "r1", 100)])
        wait_for(lambda: site.ask("/default/rest/v2/health/ready").is_success, limit_s=60)
        yield


@pytest.mark.parametrize(
    "host",
    [
        "digits.default",
        "digits.default:80",
        "digits.default.svc",
        "digits.default.svc.cluster.local",
        "digits.default.svc.cluster.local:80",
        "digits.default.models.example.com:8443",
    ],
)
def test_by_host(site, digits, host):
    answer = site.ask("/v2/models/digits?a=b", host=host)
    assert answer.json()["path"] == "/v2/models/digits?a=b"
    assert answer.headers["x-forebay-revision"] == "aaaa1111"


def test_by_path_and_by_header(site, digits):
    assert site.ask(f"{digits}/v2/models/digits?a=b").json()["path"] == "/v2/models/digits?a=b"
    assert site.ask("/v2/models/digits", forebay_deployment="default/digits").json()["path"] == "/v2/models/digits"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/default/digits-2/v2", {}),
        ("/default/digit/v2", {}),
        ("/other/digits/v2", {}),
        ("/", {}),
        ("/v2", {"forebay_deployment": "default/none"}),
        ("/v2", {"host": "none.default"}),
        ("/v2", {"host": "digits"}),
    ],
)
def test_nobody_s_requests(site, digits, path, headers):
    answer = site.ask(path, **headers)
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (404, "no-such-deployment")
    assert answer.json()["reason"] == "no-such-deployment"
    assert "x-forebay-revision" not in answer.headers


def test_tritonclient_over_rest_and_grpc(site, echo):
    with tritonclient.http.InferenceServerClient(f"{HOST}:{site.data_port}/default/rest") as client:
        assert client.is_server_live()
    with tritonclient.grpc.InferenceServerClient(f"{HOST}:{site.data_port}") as client:
        assert client.is_server_live(headers={"forebay-deployment": "default/echo"})
    options = [("grpc.default_authority", "echo.default.svc.cluster.local:80")]
    with tritonclient.grpc.InferenceServerClient(f"{HOST}:{site.data_port}", channel_args=options) as client:
        assert client.is_server_live()
        assert client.get_server_metadata(as_json=True)["name"]


def test_grpc_gets_the_reason_in_its_status(site, cluster, digits):
    cluster.put_deployment("waiting")
    wait_for(lambda: "default/waiting" in site.routes())
    with tritonclient.grpc.InferenceServerClient(f"{HOST}:{site.data_port}") as client:
        for name, status in (("waiting", grpc.StatusCode.UNAVAILABLE), ("none", grpc.StatusCode.NOT_FOUND)):
            with pytest.raises(InferenceServerException) as caught:
                client.get_server_metadata(headers={"forebay-deployment": f"default/{name}"})
            assert caught.value.status() == str(status)
    assert "kubectl" in caught.value.message()


def test_not_ready_no_instance_and_gone(site, cluster, address, backends):
    cluster.put_deployment("early")
    wait_for(lambda: "default/early" in site.routes())
    answer = site.ask("/default/early/v2")
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "not-ready")
    assert "kubectl describe md early -n default" in answer.json()["error"]
    assert answer.headers["retry-after"]
    cluster.put_deployment("early", traffic=[("early-1", "r1", 100)])
    answer = wait_for(
        lambda: (found := site.ask("/default/early/v2")).headers["x-forebay-reason"] == "no-instance" and found
    )
    assert answer.status_code == 503
    cluster.put_slice("early-1", ready(address), port=backends["one"])
    wait_for(lambda: site.ask("/default/early/v2").is_success)
    cluster.drop_deployment("early")
    wait_for(lambda: site.ask("/default/early/v2").status_code == 404)
    assert "default/early" not in site.routes()


def test_endpoints_that_are_not_ready_or_are_going_get_nothing(site, cluster, address, backends):
    cluster.put_deployment("pick", traffic=[("pick-1", "r1", 100)])
    cluster.put_slice("pick-1", ready(address), port=backends["one"])
    for number, conditions in enumerate(({"ready": False}, {"terminating": True, "serving": True})):
        endpoint = {"addresses": ["192.0.2.250"], "conditions": {"ready": True, **conditions}}
        cluster.put_slice("pick-1", endpoint, port=9, suffix=f"bad{number}")
    wait_for(lambda: site.routes()["default/pick"]["workloads"] == {"pick-1": 1})
    assert all(site.ask("/default/pick/v2").json()["name"] == "one" for _ in range(10))


def test_a_change_of_endpoints_is_live_at_once(site, cluster, digits, address, backends):
    for name in ("two", "one") * 5:
        cluster.put_slice("digits-1", ready(address), port=backends[name])
        wait_for(lambda name=name: site.ask(f"{digits}/v2").json()["name"] == name, every_s=0)


def test_shares_follow_the_status(site, cluster, digits, address, backends):
    cluster.put_slice("digits-2", ready(address), port=backends["two"])
    cluster.put_deployment("digits", traffic=[("digits-1", "aaaa1111", 75), ("digits-2", "bbbb2222", 25)])
    wait_for(lambda: site.routes()["default/digits"]["workloads"] == {"digits-1": 1, "digits-2": 1})
    seen = Counter(
        (answer.headers["x-forebay-revision"], answer.json()["name"])
        for answer in (site.ask(f"{digits}/v2") for _ in range(200))
    )
    assert seen.keys() == {("aaaa1111", "one"), ("bbbb2222", "two")}
    assert 110 < seen["aaaa1111", "one"] < 185
    cluster.put_deployment("digits", traffic=[("digits-2", "bbbb2222", 0), ("digits-1", "aaaa1111", 100)])
    wait_for(lambda: '"weighted_clusters"' not in dump_of(site, "digits"))
    assert site.routes()["default/digits"]["workloads"] == {"digits-1": 1, "digits-2": 1}, "announced, not used"
    cluster.put_deployment("digits", traffic=[("digits-1", "aaaa1111", 100)])
    wait_for(lambda: site.routes()["default/digits"]["workloads"] == {"digits-1": 1})
    wait_for(lambda: "default/digits-2" not in site.admin("/clusters"))


def test_who_serves_goes_on_until_the_next_one_s_instances_are_known(site, cluster, digits, address, backends):
    generation = cluster.put_deployment("digits", traffic=[("digits-3", "cccc3333", 100)], queue={"timeout": "2s"})
    wait_for(lambda: site.routes()["default/digits"]["generation"] == generation)
    assert site.routes()["default/digits"]["workloads"] == {"digits-1": 1}
    assert site.ask(f"{digits}/v2").headers["x-forebay-revision"] == "aaaa1111"
    cluster.put_slice("digits-3", ready(address), port=backends["two"])
    wait_for(lambda: site.routes()["default/digits"]["workloads"] == {"digits-3": 1})
    assert site.ask(f"{digits}/v2").headers["x-forebay-revision"] == "cccc3333"
    cluster.put_deployment("digits", traffic=[("digits-1", "aaaa1111", 100)])
    wait_for(lambda: site.routes()["default/digits"]["workloads"] == {"digits-1": 1})


def dump_of(site: GatewaySite, name: str) -> str:
    """Envoy's routes of a deployment's host."""
    dump = json.loads(site.admin("/config_dump?resource=dynamic_route_configs"))
    hosts = dump["configs"][0]["route_config"]["virtual_hosts"]
    return json.dumps([host for host in hosts if host["name"] == f"default/{name}"])


def test_the_timeout_is_live_and_a_silent_instance_is_given_up(site, cluster, digits):
    generation = cluster.put_deployment("digits", traffic=[("digits-1", "aaaa1111", 100)], queue={"timeout": "10ms"})
    wait_for(lambda: site.routes()["default/digits"]["generation"] == generation)
    answer = site.ask(f"{digits}/v2?sleep=3")
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (504, "timeout")
    cluster.put_deployment("digits", traffic=[("digits-1", "aaaa1111", 100)])


def test_requests_are_counted_by_whoever_answered(site, cluster, digits):
    site.ask("/default/waiting-for-godot/v2")
    wait_for(
        lambda: (
            'forebay_request_duration_seconds_bucket{namespace="default",deployment="digits"'
            in site.get_pilot("/metrics").text
        )
    )
    text = site.get_pilot("/metrics").text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    digits_200 = [line for line in lines if line.startswith("forebay_requests_total") and 'code="200"' in line]
    assert any('deployment="digits",revision="aaaa1111"' in line for line in digits_200)
    assert any('reason="no-such-deployment"' in line for line in lines)
    assert any(line.startswith('forebay_instances{namespace="default",deployment="digits"') for line in lines)
    assert "forebay_pilot_connected 1" in lines


def test_what_clients_can_t_do(site, digits):
    """Paths are made plain before they are matched."""
    assert site.ask("/default/x/../digits/v2").json()["path"] == "/v2"
    raw = loopback.get(f"{site.url}/default%2Fdigits/v2")
    assert raw.status_code == 400


def test_the_load_of_a_deployment_is_told_while_there_is_any(site: GatewaySite, digits: str) -> None:
    def load() -> dict[str, int]:
        return dict(site.get_pilot("/load").json()["load"])

    wait_for(lambda: load() == {})
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(site.ask, f"{digits}/v2/models/digits?sleep=2") for _ in range(3)]
        wait_for(lambda: load() == {"default/digits": 3})
        assert {each.result().status_code for each in sent} == {200}
    wait_for(lambda: load() == {})
