"""API keys and rate limits, in a real gateway."""

import grpc
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from forebay.local.ports import HOST
from tests.gateway.site import Cluster, GatewaySite, ready, wait_for

CANARY = "canary-5f0c1e7a"
SHARE = [("guarded-1", "r1", 100)]
KEYS = {"apiKeys": {"secretName": "keys"}}


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, site: GatewaySite, backends, address) -> str:
    cluster.put_secret("keys", {"anna": CANARY, "bert": "bert-key\n"})
    cluster.put_slice("guarded-1", ready(address), port=backends["one"])
    generation = cluster.put_deployment("guarded", traffic=SHARE, access=KEYS)
    wait_for(lambda: site.routes()["default/guarded"]["generation"] == generation)
    wait_for(lambda: site.ask("/default/guarded/v2").headers["x-forebay-reason"] == "no-api-key")
    wait_for(lambda: site.routes()["default/guarded"]["workloads"] == {"guarded-1": 1})
    return "/default/guarded/v2"


def test_who_has_a_key_is_let_in_by_name(site, guarded):
    for headers, client in (
        ({"x_api_key": CANARY}, "anna"),
        ({"authorization": f"Bearer {CANARY}"}, "anna"),
        ({"x_api_key": "bert-key"}, "bert"),
    ):
        answer = site.ask(guarded, x_forebay_client="root", **headers)
        seen = {name.lower(): value for name, value in answer.json()["headers"].items()}
        assert seen["x-forebay-client"] == client
        assert "x-api-key" not in seen
        assert "authorization" not in seen, "the instance never sees a key"


def test_nobody_else_is(site, guarded):
    for path, headers in (
        (guarded, {}),
        ("/v2", {"host": "guarded.default"}),
        ("/v2", {"forebay_deployment": "default/guarded"}),
    ):
        answer = site.ask(path, **headers)
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (401, "no-api-key")
        assert "x-api-key" in answer.json()["error"]
        answer = site.ask(path, x_api_key="wrong", **headers)
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (401, "wrong-api-key")
    with tritonclient.grpc.InferenceServerClient(f"{HOST}:{site.data_port}") as client:
        with pytest.raises(InferenceServerException) as caught:
            client.is_server_live(headers={"forebay-deployment": "default/guarded"})
        assert caught.value.status() == str(grpc.StatusCode.UNAUTHENTICATED)
        assert "x-api-key" in caught.value.message()


def test_a_client_s_name_can_t_be_forged_where_no_keys_are_asked_for(site, digits):
    answer = site.ask(f"{digits}/v2", x_forebay_client="root")
    assert "x-forebay-client" not in {name.lower() for name in answer.json()["headers"]}


def test_a_changed_secret_is_live_and_an_unusable_one_lets_nobody_in(site, cluster, guarded):
    cluster.put_secret("keys", {"anna": "new-key"})
    wait_for(lambda: site.ask(guarded, x_api_key="new-key").is_success, every_s=0.1)
    assert site.ask(guarded, x_api_key=CANARY).status_code == 401
    cluster.put_secret("keys", {"anna": "new-key", "carl": "new-key", "dora": ""})
    wait_for(lambda: site.routes()["default/guarded"]["error"], every_s=0.1)
    error = site.routes()["default/guarded"]["error"]
    assert "the key of carl is the same as that of anna, the key of dora is empty" in error
    assert site.ask(guarded, x_api_key="new-key").is_success, "the others are let in all the same"
    cluster.drop_secret("keys")
    answer = wait_for(
        lambda: (found := site.ask(guarded, x_api_key="new-key")).status_code == 503 and found, every_s=0.1
    )
    assert answer.headers["x-forebay-reason"] == "access-not-ready"
    assert "kubectl describe md guarded -n default" in answer.json()["error"]
    assert "does not exist: kubectl create secret generic keys" in site.routes()["default/guarded"]["error"]
    cluster.put_secret("keys", {"anna": CANARY, "bert": "bert-key"})
    # Whoever writes the deployment anew need not wait for the next look at the Secret.
    cluster.put_deployment("guarded", traffic=SHARE, access=KEYS, queue={"timeout": "31s"})
    wait_for(lambda: site.ask(guarded, x_api_key=CANARY).is_success)
    assert site.routes()["default/guarded"]["error"] == ""


def test_rate_limit_of_all(site, cluster, backends, address):
    cluster.put_slice("busy-1", ready(address), port=backends["one"])
    cluster.put_deployment("busy", traffic=[("busy-1", "r1", 100)], access={"rateLimit": {"requests": 3, "per": "1m"}})
    # Its status comes after its generation.
    wait_for(lambda: site.routes()["default/busy"]["workloads"] == {"busy-1": 1})
    ways = [
        ("/default/busy/v2", {}),
        ("/v2", {"host": "busy.default"}),
        ("/v2", {"forebay_deployment": "default/busy"}),
    ]
    assert [site.ask(path, **headers).status_code for path, headers in ways] == [200] * 3
    for path, headers in ways:
        answer = site.ask(path, **headers)
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (429, "rate-limit")
        assert answer.headers["retry-after"] == "20"
    # Another deployment's change must not fill the bucket again.
    cluster.put_deployment("unrelated", traffic=[("busy-1", "r1", 100)])
    wait_for(lambda: "default/unrelated" in site.routes() and site.ask("/default/unrelated/v2").is_success)
    assert site.ask("/default/busy/v2").status_code == 429
    with tritonclient.grpc.InferenceServerClient(f"{HOST}:{site.data_port}") as client:
        with pytest.raises(InferenceServerException) as caught:
            client.is_server_live(headers={"forebay-deployment": "default/busy"})
        assert caught.value.status() == str(grpc.StatusCode.RESOURCE_EXHAUSTED)


def test_rate_limit_of_each_client(site, cluster, guarded):
    generation = cluster.put_deployment(
        "guarded", traffic=SHARE, access={**KEYS, "rateLimit": {"requests": 2, "per": "1m", "by": "client"}}
    )
    wait_for(lambda: site.routes()["default/guarded"]["generation"] == generation)
    keys = [CANARY] * 3 + ["bert-key"] * 3 + ["wrong"] * 2
    codes = [site.ask(guarded, x_api_key=key, x_forebay_client="anna").status_code for key in keys]
    assert codes == [200, 200, 429, 200, 200, 429, 401, 401]


def test_the_limit_is_divided_among_the_gateway_s_pods(site, cluster, backends, address):
    labels = {"kubernetes.io/service-name": "forebay-gateway"}
    pods = [ready(f"192.0.2.{number}") for number in (101, 102, 103, 104)]
    cluster.put_raw_slice("forebay-gateway-x", labels, pods, port=8080, namespace="forebay-system")
    wait_for(lambda: all(f"::192.0.2.{number}:" in site.admin("/clusters") for number in (101, 102, 103, 104)))
    cluster.put_slice("split-1", ready(address), port=backends["one"])
    generation = cluster.put_deployment(
        "split", traffic=[("split-1", "r1", 100)], access={"rateLimit": {"requests": 8, "per": "1h"}}
    )
    # Envoy hands its threads one after the other what it hears: the pods before the limit.
    wait_for(lambda: site.routes()["default/split"]["generation"] == generation)
    codes = [site.ask("/default/split/v2").status_code for _ in range(8)]
    assert codes == [200, 200, 429, 429, 429, 429, 429, 429]
    cluster.drop_slice("forebay-gateway-x", namespace="forebay-system")


def test_refusals_are_counted(site, guarded, digits):
    text = wait_for(
        lambda: (found := site.get_pilot("/metrics").text) and 'reason="rate-limit"' in found and found, every_s=0.5
    )
    for wanted in (
        'forebay_requests_rejected_total{namespace="default",deployment="guarded",revision="r1",reason="no-api-key"}',
        'forebay_requests_rejected_total{namespace="default",deployment="guarded",revision="r1",reason="wrong-api-key"}',
        'forebay_requests_total{namespace="default",deployment="guarded",revision="r1",code="401"}',
        'forebay_requests_total{namespace="default",deployment="busy",revision="r1",code="429"}',
    ):
        assert wanted in text


def test_no_key_is_ever_shown(site, guarded):
    assert site.ask(guarded, x_api_key=CANARY).status_code in (200, 429)
    for shown in (
        site.get_pilot("/routes").text,
        site.get_pilot("/metrics").text,
        site.admin("/config_dump?include_eds"),
        site.admin("/stats"),
        site.admin("/clusters"),
        site.log.read_text(),
        site.envoy_log.read_text(),
    ):
        assert CANARY not in shown
        assert "bert-key" not in shown
