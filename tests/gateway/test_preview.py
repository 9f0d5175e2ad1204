"""One revision of several is asked by itself: by path and by header, REST and gRPC, under the same access."""

import sys
from collections import Counter
from collections.abc import Iterator

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.http import InferenceServerClient

from forebay.local.ports import HOST, find_free_ports
from tests.gateway.site import Cluster, GatewaySite, Raw, ready, running, wait_for

OLD, NEW = "aaaa1111", "bbbb2222"
TRAFFIC = [("look-1", OLD, 100)]
SCRIPT = "class A:\n    def predict(self, inputs):\n        return inputs\n"


def told(weight: int = 0) -> Raw:
    return {"revision": NEW, "phase": "Waiting", "step": 1, "steps": 1, "weightPct": weight, "workload": "look-2"}


@pytest.fixture
def look(cluster: Cluster, site: GatewaySite, backends: dict[str, int], address: str) -> Iterator[str]:
    """A deployment of which a second revision can be looked at; its path."""
    for name, backend in (("look-1", "one"), ("look-2", "two")):
        cluster.put_slice(name, ready(address), port=backends[backend])
    cluster.put_deployment("look", traffic=TRAFFIC, told={"rollout": told()})
    wait_for(lambda: workloads(site) == {"look-1", "look-2"})
    yield "/default/look"
    cluster.drop_deployment("look")
    for name in ("look-1", "look-2"):
        cluster.drop_slice(f"{name}-a")


def workloads(site: GatewaySite) -> set[str]:
    return set(site.routes()["default/look"]["workloads"])


def ask(site: GatewaySite, path: str, **headers: str) -> tuple[str, str]:
    """Who answered, and what it was asked."""
    answer = site.ask(path, **headers)
    assert answer.is_success, answer.text
    assert answer.headers["x-forebay-revision"] == {"one": OLD, "two": NEW}[answer.json()["name"]]
    return answer.headers["x-forebay-revision"], answer.json()["path"]


def test_by_path_and_by_header(site: GatewaySite, look: str) -> None:
    assert site.routes()["default/look"]["weights"] == {"look-1": 100}
    assert {ask(site, f"{look}/v2") for _ in range(20)} == {(OLD, "/v2")}
    for name, revision in (("preview", NEW), (NEW, NEW), (OLD, OLD)):
        assert ask(site, f"{look}@{name}/v2/models?a=b") == (revision, "/v2/models?a=b")
        assert ask(site, f"{look}/v2", forebay_revision=name) == (revision, "/v2")
        for host in ({"host": "look.default"}, {"forebay_deployment": "default/look"}):
            assert ask(site, "/v2/x", forebay_revision=name, **host) == (revision, "/v2/x")


@pytest.mark.parametrize("headers", [{}, {"host": "look.default"}, {"forebay_deployment": "default/look"}])
def test_what_there_is_not_is_refused(site: GatewaySite, look: str, headers: dict[str, str]) -> None:
    path = "/v2" if headers else f"{look}/v2"
    answers = [site.ask(path, forebay_revision=name, **headers) for name in ("cccc3333", "previews", "aaaa")]
    answers += [site.ask(f"{look}@{name}/v2") for name in ("cccc3333", "", "preview-2")]
    for answer in answers:
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (404, "no-such-revision")
        assert answer.headers["content-type"] == "application/json"
        assert f"{OLD} (100 % of the requests) and {NEW} (preview, 0 % of the requests)" in answer.json()["error"]


def test_where_one_revision_has_all_requests(site: GatewaySite, digits: str) -> None:
    assert site.ask(f"{digits}/v2", forebay_revision="aaaa1111").is_success
    assert site.ask(f"{digits}/v2", forebay_revision="").is_success
    answers = [site.ask(f"{digits}/v2", forebay_revision="preview"), site.ask(f"{digits}@preview/v2")]
    answers += [site.ask("/v2", forebay_revision="preview", host="digits.default"), site.ask("/default/none@preview/")]
    for answer in answers:
        assert (answer.status_code, answer.headers["x-forebay-reason"]) == (404, "no-such-revision"), answer.text
        assert "forebay-revision" in answer.json()["error"]
        assert "retry-after" not in answer.headers
    assert site.ask("/default/none/v2").headers["x-forebay-reason"] == "no-such-deployment"


def test_with_instances_alone(
    site: GatewaySite, cluster: Cluster, look: str, backends: dict[str, int], address: str
) -> None:
    cluster.drop_slice("look-2-a")
    wait_for(lambda: workloads(site) == {"look-1"})
    assert site.ask(f"{look}@preview/v2").status_code == 404
    assert site.ask(f"{look}/v2").is_success
    cluster.put_slice("look-2", ready(address), port=backends["two"])
    wait_for(lambda: workloads(site) == {"look-1", "look-2"})
    assert ask(site, f"{look}@preview/v2")[0] == NEW
    # A rollout that is over, or was aborted, has none.
    cluster.put_deployment("look", traffic=TRAFFIC)
    wait_for(lambda: workloads(site) == {"look-1"})
    assert site.ask(f"{look}@preview/v2").status_code == 404


def test_with_a_share(site: GatewaySite, cluster: Cluster, look: str) -> None:
    shares = [("look-1", OLD, 50), ("look-2", NEW, 50)]
    cluster.put_deployment("look", traffic=shares, told={"rollout": told(50)})
    wait_for(lambda: site.routes()["default/look"]["weights"] == {"look-1": 50, "look-2": 50})
    assert {ask(site, f"{look}@preview/v2")[0] for _ in range(20)} == {NEW}
    assert {ask(site, f"{look}/v2", forebay_revision=OLD)[0] for _ in range(20)} == {OLD}
    assert Counter(ask(site, f"{look}/v2")[0] for _ in range(200)).keys() == {OLD, NEW}
    assert "preview, 50 %" in site.ask(f"{look}/v2", forebay_revision="none").json()["error"]


def test_keys_and_limits_hold(site: GatewaySite, cluster: Cluster, look: str) -> None:
    cluster.put_secret("look-keys", {"anna": "a-key"})
    access = {"apiKeys": {"secretName": "look-keys"}, "rateLimit": {"requests": 5, "per": "1h"}}
    generation = cluster.put_deployment("look", traffic=TRAFFIC, told={"rollout": told()}, access=access)
    wait_for(lambda: site.routes()["default/look"]["generation"] == generation)
    wait_for(lambda: site.ask(f"{look}/v2").status_code == 401)
    ways = [(f"{look}@preview/v2", {}), (f"{look}/v2", {"forebay_revision": "preview"}), (f"{look}@none/v2", {})]
    for path, headers in ways:
        assert site.ask(path, **headers).headers["x-forebay-reason"] == "no-api-key"
    found = Counter(
        site.ask(path, x_api_key="a-key", **headers).status_code for _ in range(5) for path, headers in ways[:2]
    )
    assert found == {200: 5, 429: 5}


def test_grpc_and_triton_s_clients(
    tmp_path_factory: pytest.TempPathFactory, cluster: Cluster, site: GatewaySite, look: str, address: str
) -> None:
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT)
    http_port, grpc_port = find_free_ports(2)
    argv = ["--script", str(script), "--name", "look", "--role", "predictor", "--host", "0.0.0.0"]
    argv += ["--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    with (
        running([sys.executable, "-m", "forebay.serving", *argv]),
        grpc.insecure_channel(f"{HOST}:{site.data_port}") as channel,
    ):
        cluster.put_slice("look-2", ready(address), port=http_port)
        client = InferenceServerClient(f"{HOST}:{site.data_port}{look}@preview")
        wait_for(lambda: site.ask(f"{look}@preview/v2").json()["name"] != "two")
        assert client.is_model_ready("look")
        for name in ("look-1", "look-2"):
            cluster.put_slice(name, ready(address), port=grpc_port)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def call(revision: str) -> str:
            headers = [("forebay-deployment", "default/look"), ("forebay-revision", revision)]
            _, call = stub.ServerLive.with_call(service_pb2.ServerLiveRequest(), metadata=headers, timeout=30)
            return str(dict(call.initial_metadata())["x-forebay-revision"])

        def is_live() -> bool:
            try:
                return call(OLD) == OLD and call("preview") == NEW
            except grpc.RpcError:
                return False

        wait_for(is_live, every_s=0.2)
        assert [call(name) for name in ("preview", NEW, OLD)] == [NEW, NEW, OLD]
        with pytest.raises(grpc.RpcError) as caught:
            call("cccc3333")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert f"{NEW} (preview" in caught.value.details()


def test_beside_one_that_sleeps(site: GatewaySite, cluster: Cluster, look: str) -> None:
    """Who asks for the preview isn't held, and who asks for nobody by name is."""
    predictor = {"autoscaling": {"min": 0, "max": 2, "coldStart": {"timeout": "1s"}}}
    script = {"custom": {"script": SCRIPT}}
    cluster.put_workload("look-1", replicas=0)
    cluster.drop_slice("look-1-a")
    cluster.put_deployment("look", traffic=TRAFFIC, told={"rollout": told()}, predictor=script | predictor)
    wait_for(lambda: site.ask(f"{look}/v2").headers.get("x-forebay-reason") == "cold-start-timeout")
    assert ask(site, f"{look}@preview/v2")[0] == NEW
    assert ask(site, "/v2", host="look.default", forebay_revision="preview")[0] == NEW
    assert site.ask(f"{look}/v2", forebay_revision=OLD).headers["x-forebay-reason"] == "cold-start-timeout"
    assert site.ask(f"{look}/v2", forebay_revision="none").headers["x-forebay-reason"] == "no-such-revision"
    cluster.drop_workload("look-1")


HALVES = [("look-1", OLD, 50), ("look-2", NEW, 50)]


def split_evenly(site: GatewaySite, cluster: Cluster, **canary: object) -> None:
    rollout = {"canary": {"steps": [{"weight": 50}], **canary}}
    generation = cluster.put_deployment("look", traffic=HALVES, told={"rollout": told(50)}, rollout=rollout)
    wait_for(lambda: site.routes()["default/look"]["generation"] == generation)
    wait_for(lambda: site.routes()["default/look"]["weights"] == {"look-1": 50, "look-2": 50})


def test_picked_requests_go_to_the_new_one(site: GatewaySite, cluster: Cluster, look: str) -> None:
    headers = [{"name": "X-Beta", "value": "yes"}, {"name": "x-team", "value": "a, b"}]
    split_evenly(site, cluster, match={"headers": headers})
    picked = {"x-beta": "yes", "x-team": "a, b"}
    for path, where in (
        (f"{look}/v2", {}),
        ("/v2", {"host": "look.default"}),
        ("/v2", {"forebay_deployment": look[1:]}),
    ):
        assert {ask(site, path, **picked, **where)[0] for _ in range(20)} == {NEW}
        for other in ({"x-beta": "yes"}, picked | {"x-beta": "Yes"}):
            assert {ask(site, path, **other, **where)[0] for _ in range(50)} == {OLD, NEW}
    assert ask(site, f"{look}/v2", **picked, forebay_revision=OLD)[0] == OLD
    # Before the first step, and of one that is down.
    cluster.put_deployment(
        "look", traffic=TRAFFIC, told={"rollout": told()}, rollout={"canary": {"steps": [{"weight": 50}]}}
    )
    wait_for(lambda: site.routes()["default/look"]["weights"] == {"look-1": 100})
    assert {ask(site, f"{look}/v2", **picked)[0] for _ in range(20)} == {OLD}


@pytest.mark.parametrize(("sticky", "header"), [("header", "x-user"), ("cookie", "cookie")])
def test_a_client_stays_where_it_is(site: GatewaySite, cluster: Cluster, look: str, sticky: str, header: str) -> None:
    key = "x-user" if sticky == "header" else "session"
    split_evenly(site, cluster, stickyBy={sticky: key})

    def who(user: int) -> set[str]:
        value = f"user-{user}" if sticky == "header" else f"other=1; session={user}-abc"
        return {ask(site, f"{look}/v2", **{header: value})[0] for _ in range(5)}

    seen = {user: who(user) for user in range(40)}
    assert all(len(each) == 1 for each in seen.values()), "each stays"
    assert {NEW} in seen.values()
    assert {OLD} in seen.values()
    assert {ask(site, f"{look}/v2")[0] for _ in range(50)} == {OLD, NEW}, "who has no key goes by the shares"
    # With a larger share nobody goes back.
    rollout = {"canary": {"steps": [{"weight": 50}], "stickyBy": {sticky: key}}}
    cluster.put_deployment(
        "look", traffic=[("look-1", OLD, 30), ("look-2", NEW, 70)], told={"rollout": told(70)}, rollout=rollout
    )
    wait_for(lambda: site.routes()["default/look"]["weights"] == {"look-1": 30, "look-2": 70})
    later = {user: who(user) for user in range(40)}
    assert all(later[user] == {NEW} for user, was in seen.items() if was == {NEW})
    assert {OLD} in later.values()
