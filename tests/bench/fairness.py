"""One of four instances is five times as slow: what that costs clients, against a gateway that takes turns.

    python -m tests.bench.fairness [--rounds 3] [--seconds 10] [--rate 120]

Both gateways are ours, in front of the same four instances with their queues; one of them has ROUND_ROBIN for a policy.
Servers only wait, two requests at a time: the figures are about who is sent what, and hardly about this machine's CPU.
"""

import argparse
import asyncio
import contextlib
import copy
import statistics
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from forebay.api.load import load_text
from forebay.local.ports import HOST, find_free_ports
from forebay.plan.envoy import Address, Json, build_assignment
from forebay.plan.envoy_gateway import build_gateway, build_route
from forebay.plan.envoy_queue import build_queue
from forebay.plan.resolve import resolve
from tests.bench.client import run_load
from tests.bench.load import Load, Summary, summarize
from tests.bench.proxies import Way, find_addresses, running_envoy, wait_until_answered

INSTANCES, SLOTS, SERVICE_S, SLOWDOWN = 4, 2, 0.02, 5
POLICIES = ("LEAST_REQUEST", "ROUND_ROBIN")
_PATH = "/v2/models/fair/infer"
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
_CONNECTIONS = 64
_MANIFEST = f"""
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: fair}}
spec:
  model: {{uri: "https://example.com/fair/"}}
  predictor: {{triton: {{}}, concurrency: {SLOTS}, replicas: {INSTANCES}}}
  queue: {{depth: 100, timeout: 10s}}
"""


class Server(asyncio.Protocol):
    """Answers each request after its service time."""

    def __init__(self, service_s: float) -> None:
        self._service_s = service_s
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if end and len(body) >= int(fields.get(b"content-length", b"0")):
            self._received = b""
            asyncio.get_running_loop().call_later(self._service_s, self._transport.write, _ANSWER)  # type: ignore[attr-defined]


def serve(places: dict[Address, float]) -> None:
    """Servers with their service times, until the process ends."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for place, service_s in places.items():
            await loop.create_server(lambda service_s=service_s: Server(service_s), place.host, place.port)  # type: ignore[misc]
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()


def build_policy(config: Json, policy: str, members: list[Address]) -> Json:
    """The gateway's config with all instances, chosen by a policy."""
    made = copy.deepcopy(config)
    (cluster,) = made["static_resources"]["clusters"]
    cluster |= {"lb_policy": policy, "load_assignment": build_assignment(cluster["name"], members)}
    return made


@contextlib.contextmanager
def running_gateways(folder: Path) -> Iterator[dict[str, Way]]:
    """Both gateways, by the policy."""
    (serving,) = (resolve(manifest) for manifest in load_text(_MANIFEST, file="bench.yaml", folder=folder))
    servers = [Address(HOST, port) for port in find_free_ports(INSTANCES)]
    serve({each: SERVICE_S * (1 if number else SLOWDOWN) for number, each in enumerate(servers)})
    queues = {f"queue-{n}": find_addresses(serving, folder / f"queue-{n}", each) for n, each in enumerate(servers)}
    timeout_s = serving.predictor.limits.timeout_s
    configs = {name: build_queue(serving.predictor.server, each, timeout_s=timeout_s) for name, each in queues.items()}
    fronts = [each.front for each in queues.values()]
    listens = {}
    for policy in POLICIES:
        listen, admin = (Address(HOST, port) for port in find_free_ports(2))
        gateway = build_gateway([build_route(serving, fronts[0])], listen=listen, admin=admin)
        configs[policy] = build_policy(gateway, policy, fronts)
        listens[policy] = Way(address=listen, path=f"/default/fair{_PATH}")
    with contextlib.ExitStack() as stack:
        for name, config in configs.items():
            stack.enter_context(running_envoy(name, config, folder))
        for way in listens.values():
            wait_until_answered(way)
        yield listens


def measure(way: Way, *, rate: float, seconds: float, seed: int) -> Summary:
    load = Load(
        host=way.address.host, port=way.address.port, path=way.path, body="{}", seconds=seconds,
        connections=_CONNECTIONS, rate_per_s=rate, seed=seed,
    )  # fmt: skip
    return summarize(run_load(load), load)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=10)
    # Of 320 a second that all can do together: taking turns, the slow one would get more than its 20.
    options.add_argument("--rate", type=float, default=120)
    chosen = options.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as made, running_gateways(Path(made)) as ways:
        for number in range(chosen.rounds):
            found = {
                policy: measure(way, rate=chosen.rate, seconds=chosen.seconds, seed=number)
                for policy, way in ways.items()
            }
            for policy, each in found.items():
                print(f"{policy:14} p50 {each.ok_p50_ms:4.0f} ms, p99 {each.ok_p99_ms:5.0f} ms, {each.counts}")
            ratios.append(found[POLICIES[0]].ok_p99_ms / found[POLICIES[1]].ok_p99_ms)
    print(f"p99, of that of round robin: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
