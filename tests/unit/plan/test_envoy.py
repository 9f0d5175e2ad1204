"""Which paths the queue lets through, what it answers by itself, and how the gateway tries again."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from forebay.api.load import load_text
from forebay.plan.envoy import Address, DnsName, build_retry_policy
from forebay.plan.envoy_access import RateLimit, build_rate_limits
from forebay.plan.envoy_gateway import build_gateway, build_route
from forebay.plan.envoy_queue import QueueAddresses, build_queue, build_runtime
from forebay.plan.envoy_replies import REPLIES, build_mappers, build_refusal
from forebay.plan.names import DEPTH_KEY, SLOTS_KEY
from forebay.plan.resolve import Serving, resolve

HEAD = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: digits}\nspec:\n"
TRITON = "  model: {uri: 's3://a/b'}\n  predictor: {triton: {}}\n  queue: {timeout: 2s}\n"
SCRIPT = '  predictor: {custom: {script: "class A:\\n  def predict(self, i): return i\\n"}}\n'
HERE = Address("127.0.0.1", 1)
GRPC = "/inference.GRPCInferenceService/"


def serving(spec: str, *, name: str = "digits") -> Serving:
    (made,) = load_text(HEAD.replace("digits", name) + spec, file="m.yaml", folder=Path("/nowhere"))
    return resolve(made)


def queue(spec: str) -> dict:
    addresses = QueueAddresses(
        front=HERE, metrics=HERE, admin=HERE, model_http=HERE, model_grpc=HERE, model_metrics=HERE, egress=HERE,
        predictors=(), runtime_dir="/runtime",
    )  # fmt: skip
    predictor = serving(spec).predictor
    return build_queue(predictor.server, addresses, timeout_s=predictor.limits.timeout_s)


def front_routes(spec: str) -> list[dict]:
    (listener,) = [each for each in queue(spec)["static_resources"]["listeners"] if each["name"] == "front"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager["route_config"]["virtual_hosts"][0]["routes"]


def destination(spec: str, path: str) -> str:
    """Where a path goes, as Envoy finds it: queue, past it (http, grpc), or nowhere. A regex matches the whole path."""
    for route in front_routes(spec):
        match = route["match"]
        if "prefix" in match or re.fullmatch(match["safe_regex"]["regex"], path):
            return route["route"]["cluster"].rpartition("_")[2] if "route" in route else "refused"
    raise AssertionError("no route at all")


BOTH = {
    "/v2/models/m/infer": "queue",
    "/v2/models/m/versions/3/infer": "queue",
    "/v2/models/m.x-y_z/generate": "queue",
    "/v2/models/m/generate_stream": "queue",
    f"{GRPC}ModelInfer": "queue",
    f"{GRPC}ModelStreamInfer": "queue",
    "/v2": "http",
    "/v2/": "http",
    "/v2/health/ready": "http",
    "/v2/models/m": "http",
    "/v2/models/m/ready": "http",
    "/v2/models/m/versions/1/config": "http",
    "/v2/models/m/stats": "http",
    f"{GRPC}ServerReady": "grpc",
    f"{GRPC}ModelMetadata": "grpc",
    "/grpc.health.v1.Health/Check": "grpc",
    "/": "refused",
    "/metrics": "refused",
    "/v2/repository/index": "refused",
    "/v2/repository/models/m/load": "refused",
    "/v2/models/m/unload": "refused",
    "/v2/models/m/trace/setting": "refused",
    "/v2/models/m/infer/": "refused",
    "/v2/models/m/infer/x": "refused",
    "/v2/models//infer": "refused",
    "/v2/models/a/b/infer": "refused",
    "/x/v2/models/m/infer": "refused",
    "/v2/systemsharedmemory/region/x/register": "refused",
    "/v2/cudasharedmemory/status": "refused",
    "/v2/logging": "refused",
    "/v2/trace/setting": "refused",
    f"{GRPC}RepositoryModelLoad": "refused",
    f"{GRPC}SystemSharedMemoryRegister": "refused",
    f"{GRPC}TraceSetting": "refused",
    f"{GRPC}LogSettings": "refused",
    f"{GRPC}ModelInferX": "refused",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": "refused",
}
SCRIPTS_ONLY = {
    "/predict": "queue",
    "/v1/models/m:predict": "queue",
    "/v1/models/m": "http",
    "/docs": "http",
    "/docs/swagger-ui.css": "http",
    "/openapi.json": "http",
}


@pytest.mark.parametrize("path", BOTH)
def test_paths_of_every_server(path):
    assert destination(TRITON, path) == destination(SCRIPT, path) == BOTH[path]


@pytest.mark.parametrize("path", SCRIPTS_ONLY)
def test_paths_of_scripts(path):
    assert destination(SCRIPT, path) == SCRIPTS_ONLY[path]
    assert destination(TRITON, path) == "refused"


@pytest.mark.parametrize("path", ["/predict/x", "/predictor", "/docsx", "/v1/models/m:explain", "/metrics"])
def test_paths_that_only_look_like_those_of_scripts(path):
    assert destination(SCRIPT, path) == "refused"


def test_the_queue_s_deadline_is_the_timeout_and_streams_have_none():
    for route in front_routes(TRITON):
        target = route.get("route", {})
        if target.get("cluster") == "queue":
            stream = "tream" in route["match"]["safe_regex"]["regex"]
            assert target["timeout"] == ("0s" if stream else "2s")
            assert (target.get("idle_timeout") == "2s") == stream
            held_back = not route.get("typed_per_filter_config")
            assert held_back == ("ModelStreamInfer" not in route["match"]["safe_regex"]["regex"])


def test_slots_and_depth_are_the_circuit_breaker_and_its_live_numbers():
    config = queue(TRITON.replace("{timeout: 2s}", "{depth: 5}"))
    (cluster,) = [each for each in config["static_resources"]["clusters"] if each["name"] == "queue"]
    threshold = cluster["circuit_breakers"]["thresholds"][0]
    assert (threshold["max_connections"], threshold["max_pending_requests"]) == (1, 1)
    assert build_runtime(slots=8, depth=5) == {SLOTS_KEY: "8", DEPTH_KEY: "5"}
    assert config["layered_runtime"]["layers"][0]["disk_layer"]["symlink_root"] == "/runtime/..data"


def test_every_own_answer_has_a_reason_and_says_when_to_come_back():
    mappers = build_mappers()
    assert len(mappers) == 2 * len(REPLIES)
    for reply, grpc, rest in zip(REPLIES, mappers[::2], mappers[1::2], strict=True):
        for mapper in (grpc, rest):
            headers = {each["header"]["key"]: each["header"]["value"] for each in mapper["headers_to_add"]}
            assert headers["x-forebay-reason"] == reply.reason
            assert ("retry-after" in headers) == (reply.reason != "too-large"), "which no later try gets past"
            assert mapper["status_code"] == reply.status
        assert {each["header"]["key"]: each["header"]["value"] for each in grpc["headers_to_add"]}[
            "grpc-status"
        ] == str(reply.grpc_status)
        assert "and_filter" in grpc["filter"], "gRPC alone"
        assert rest["body_format_override"]["json_format"] == {"error": reply.message, "reason": reply.reason}
    firsts = [reply for reply in REPLIES if not reply.tried_before]
    flags = [flag for reply in firsts for flag in reply.flags]
    assert len(set(flags)) == len(flags), "a flag belongs to one reply"
    assert {reply.reason: (reply.status, reply.grpc_status) for reply in REPLIES} == {
        "queue-full": (429, 8),
        "timeout": (504, 4),
        "instance-failed": (503, 14),
        "no-instance": (503, 14),
        "too-large": (413, 11),
    }


def test_a_refusal_is_json():
    refusal = build_refusal(404, reason="why", message='a "quoted" word')
    body = json.loads(refusal["direct_response"]["body"]["inline_string"])
    assert body == {"error": 'a "quoted" word', "reason": "why"}


@pytest.mark.parametrize(("instances", "retries"), [(1, 0), (2, 1), (3, 2), (10, 2)])
def test_another_try_needs_another_instance(instances, retries):
    assert build_retry_policy(instances)["num_retries"] == retries


def routes_of(config: Any) -> list[dict]:
    """All routes, wherever they stand."""
    if isinstance(config, list):
        return [route for each in config for route in routes_of(each)]
    if not isinstance(config, dict):
        return []
    own = [config] if "match" in config else []
    return own + [route for each in config.values() for route in routes_of(each)]


def gateway(*names: str) -> dict:
    specs = [serving(TRITON, name=name) for name in names]
    return build_gateway([build_route(each, DnsName("h", 1)) for each in specs], listen=HERE, admin=HERE)


def test_the_gateway_bounds_silence_and_nothing_else():
    actions = [route["route"] for route in routes_of(gateway("digits")) if "route" in route]
    assert len(actions) == 4, "by host, by header, by path, and the only one there is"
    assert {(action["timeout"], action["idle_timeout"]) for action in actions} == {("0s", "7s")}


def test_the_gateway_takes_any_path_only_when_it_has_one_route():
    def catch_alls(*names: str) -> int:
        manager = gateway(*names)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        by_header = manager["route_config"]["virtual_hosts"][-1]["matcher"]
        fallback = routes_of(by_header["on_no_match"]["matcher"]["on_no_match"])
        assert "direct_response" in fallback[-1], "whatever is left is told what there is"
        return sum("route" in each for each in fallback)

    assert (catch_alls("a"), catch_alls("a", "b")) == (1, 0)


def test_a_model_server_cannot_speak_for_forebay():
    own = ["x-forebay-reason", "x-forebay-retry"]
    work = queue(TRITON)["static_resources"]["listeners"][1]
    (host,) = work["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    assert host["response_headers_to_remove"] == own
    control = [each for each in front_routes(TRITON) if each.get("route", {}).get("cluster", "").startswith("control")]
    assert control
    assert all(route["response_headers_to_remove"] == own for route in control)


@pytest.mark.parametrize(("requests", "gateways", "tokens"), [(1, 2, 2), (5, 2, 6), (6, 3, 6), (7, 1, 7)])
def test_a_limit_is_no_less_than_what_its_parts_come_to(requests, gateways, tokens):
    limits = build_rate_limits({"a/b": RateLimit(requests=requests, per_s=1, by_client=False)}, gateways=gateways)
    (descriptor,) = limits["typed_config"]["descriptors"]
    assert descriptor["token_bucket"]["max_tokens"] == tokens
