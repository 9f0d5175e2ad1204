"""The ways to one upstream that are compared: straight, through a queue of one or two stages, through the gateway."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from forebay.api.load import load_text
from forebay.local.envoy_binary import build_envoy_command
from forebay.local.ports import HOST, find_free_ports
from forebay.local.runtime import RuntimeFiles
from forebay.plan import names
from forebay.plan.envoy import Address, Json, build_address, build_any, build_cluster, build_connection_manager
from forebay.plan.envoy_gateway import build_gateway, build_route
from forebay.plan.envoy_queue import QueueAddresses, build_queue, build_runtime
from forebay.plan.resolve import Serving, resolve

SIZE_BYTES = 1024
DIRECT, ONE_STAGE, QUEUE, BOTH = "direct", "one stage", "queue", "gateway and queue"
_PATH = "/v2/models/echo/infer"
_START_S = 20.0
_MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: echo}
spec:
  model: {uri: "https://example.com/echo/"}
  predictor: {triton: {}, concurrency: 16}
  queue: {depth: 10000, timeout: 5s}
"""


@dataclass(frozen=True, kw_only=True)
class Way:
    """Where requests are sent, and the proxies that they pass."""

    address: Address
    path: str = _PATH
    pids: tuple[int, ...] = ()


@contextlib.contextmanager
def running_ways(folder: Path) -> Iterator[dict[str, Way]]:
    """All ways at once, by name. Each queue is a process of its own, and whoever is not asked does nothing."""
    (serving,) = (resolve(manifest) for manifest in load_text(_MANIFEST, file="bench.yaml", folder=folder))
    upstream, upstream_admin, gateway, gateway_admin = (Address(HOST, port) for port in find_free_ports(4))
    server, timeout_s = serving.predictor.server, serving.predictor.limits.timeout_s
    one, two = (find_addresses(serving, folder / name, upstream) for name in ("one", "two"))
    configs = {
        "upstream": build_upstream(upstream, upstream_admin),
        "one": build_one_stage(build_queue(server, one, timeout_s=timeout_s), one),
        "two": build_queue(server, two, timeout_s=timeout_s),
        "gateway": build_gateway([build_route(serving, two.front)], listen=gateway, admin=gateway_admin),
    }
    with contextlib.ExitStack() as stack:
        pids = {name: stack.enter_context(running_envoy(name, config, folder)) for name, config in configs.items()}
        ways = {
            DIRECT: Way(address=upstream),
            ONE_STAGE: Way(address=one.front, pids=(pids["one"],)),
            QUEUE: Way(address=two.front, pids=(pids["two"],)),
            BOTH: Way(address=gateway, path=f"/default/echo{_PATH}", pids=(pids["gateway"], pids["two"])),
        }
        for way in ways.values():
            wait_until_answered(way)
        yield ways


def build_upstream(listen: Address, admin: Address) -> Json:
    """An Envoy that answers every request by itself, once the whole of it has come."""
    answer = {"direct_response": {"status": 200, "body": {"inline_string": "x" * SIZE_BYTES}}}
    buffer = build_any("extensions.filters.http.buffer.v3.Buffer", max_request_bytes=64 * SIZE_BYTES)
    chain = build_connection_manager(
        "upstream",
        virtual_hosts=[{"name": "upstream", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **answer}]}],
        filters=[{"name": "envoy.filters.http.buffer", "typed_config": buffer}],
        replies=(),
    )
    listener = {"name": "upstream", "address": build_address(listen), "filter_chains": [chain]}
    return {"admin": {"address": build_address(admin)}, "static_resources": {"listeners": [listener]}}


def build_one_stage(queue: Json, addresses: QueueAddresses) -> Json:
    """A queue's config without the inner hop: the queue is the connection pool of the model itself."""
    resources = queue["static_resources"]
    inner = next(each for each in resources["clusters"] if each["name"] == names.QUEUE_CLUSTER)
    outer = build_cluster(names.QUEUE_CLUSTER, addresses.model_http, protocol="http1")
    outer["circuit_breakers"] = inner["circuit_breakers"]
    clusters = [outer if each is inner else each for each in resources["clusters"]]
    listeners = [each for each in resources["listeners"] if each["name"] != "work"]
    return {**queue, "static_resources": {"clusters": clusters, "listeners": listeners}}


def find_addresses(serving: Serving, folder: Path, upstream: Address) -> QueueAddresses:
    limits = serving.predictor.limits
    RuntimeFiles(folder).write(build_runtime(slots=limits.slots, depth=limits.depth))
    front, metrics, admin, unused = (Address(HOST, port) for port in find_free_ports(4))
    return QueueAddresses(
        front=front,
        metrics=metrics,
        admin=admin,
        model_http=upstream,
        model_grpc=unused,
        model_metrics=unused,
        egress=unused,
        predictors=(),
        runtime_dir=str(folder),
    )


@contextlib.contextmanager
def running_envoy(name: str, config: Json, folder: Path) -> Iterator[int]:
    """An Envoy's process id, while it runs."""
    command = build_envoy_command(name, config, folder=folder)
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("wb") as log:
        process = subprocess.Popen(command.argv, stdout=log, stderr=log, env={**os.environ, **command.env})
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def wait_until_answered(way: Way) -> None:
    url = f"http://{way.address.host}:{way.address.port}{way.path}"
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.post(url, content=b"x" * SIZE_BYTES, trust_env=False).status_code == 200:
                return
        time.sleep(0.05)
    raise TimeoutError(f"{url} did not answer within {_START_S:g} s")
