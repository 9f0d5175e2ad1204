"""From zero: requests that wait for an instance, in one burst, and how soon all of them are answered once there is one.

Beside it the same burst to an instance that is awake already, whose queue takes all of it: what the clients, the
gateway and the instance need for that many at once anyway. With `--service-ms 0` the instance is an Envoy that answers
by itself, so that hardly more than clients and gateway is left.

python -m tests.bench.zero [--held 1000] [--rounds 5] [--service-ms 1]
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
import uvloop

from forebay.local.envoy_binary import find_envoy
from forebay.local.ports import HOST, find_free_ports
from forebay.plan.envoy import Address, build_address, build_connection_manager, build_header
from tests import loopback
from tests.api.apiserver import ControlPlane
from tests.bench.gateway import read_cpu_s
from tests.gateway import bounded
from tests.gateway.site import SPEC, Cluster, GatewaySite, find_own_address, ready, running, wait_for

_SLOTS, _DEPTH = 8, 64
_ENDLESS = 100_000
_CHANNELS = 10
_LIMIT_S = 60.0
_REQUEST = b"POST /default/%b/v2/models/m/infer HTTP/1.1\r\nhost: gateway\r\ncontent-length: 5\r\n\r\nhello"
# When it was answered, and with what.
Answer = tuple[float, str]


class RestBurst:
    """HTTP/1.1 requests, each over a connection of its own, which is there before."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect(self, count: int) -> None:
        for _ in range(count):
            self._connections.append(await asyncio.open_connection(HOST, self._port))

    async def send(self, name: str) -> list[Answer]:
        return await asyncio.gather(*(self._ask(*each, name) for each in self._connections))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> Answer:
        writer.write(_REQUEST % name.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        answered_s = time.monotonic()
        writer.close()
        return answered_s, head.split()[1].decode()

    async def close(self) -> None:
        self._connections.clear()


class GrpcBurst:
    """Calls over a few connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._channels: list[grpc.aio.Channel] = []
        self._count = 0

    async def connect(self, count: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [grpc.aio.insecure_channel(f"{HOST}:{self._port}", options) for _ in range(_CHANNELS)]
        self._count = count
        for channel in self._channels:
            await channel.channel_ready()

    async def send(self, name: str) -> list[Answer]:
        asks = [channel.unary_stream(bounded.UNARY) for channel in self._channels]
        return await asyncio.gather(*(self._ask(asks[number % _CHANNELS], name) for number in range(self._count)))

    async def _ask(self, ask: Callable[..., AsyncIterator[bytes]], name: str) -> Answer:
        try:
            async for _ in ask(b"hello", metadata=[("forebay-deployment", f"default/{name}")], timeout=_LIMIT_S):
                pass
        except grpc.aio.AioRpcError as error:
            return time.monotonic(), str(error.code())
        return time.monotonic(), "200"

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


class Bench:
    """One gateway, and an instance that bounds its queue beside one that doesn't."""

    def __init__(self, site: GatewaySite, cluster: Cluster, held: int) -> None:
        self.site, self.cluster, self.held = site, cluster, held
        self.address = find_own_address()

    def put(self, name: str) -> None:
        """A ModelDeployment that is asleep."""
        predictor = {**SPEC["predictor"], "concurrency": _SLOTS, "autoscaling": {"min": 0, "max": 2}}
        predictor["autoscaling"]["coldStart"] = {"timeout": "2m", "maxHeld": self.held}
        self.cluster.put_workload(f"{name}-1", replicas=0)
        self.cluster.put_deployment(name, traffic=[(f"{name}-1", "r1", 100)], predictor=predictor)
        wait_for(lambda: self.site.routes()[f"default/{name}"]["workloads"] == {f"{name}-1": 0})

    def read_cpu(self) -> dict[str, float]:
        """CPU seconds of the gateway's two processes."""
        assert self.site.pilot
        assert self.site.envoy
        return {"pilot": read_cpu_s(self.site.pilot.pid), "Envoy": read_cpu_s(self.site.envoy.pid)}

    def come(self, name: str, port: int) -> None:
        self.cluster.put_slice(f"{name}-1", ready(self.address), port=port)

    def is_awake(self, name: str) -> bool:
        return bool(self.site.routes()[f"default/{name}"]["workloads"][f"{name}-1"])

    def count_held(self, name: str) -> int:
        return int(self.site.get_pilot("/idle").json()["idle"][f"default/{name}"]["held"])

    async def measure_asleep(
        self, burst: RestBurst | GrpcBurst, name: str, port: int
    ) -> tuple[list[float], Counter[str]]:
        """Seconds from when the apiserver has the endpoint to each answer."""
        self.put(name)
        await burst.connect(self.held)
        answers = asyncio.create_task(burst.send(name))
        await asyncio.to_thread(wait_for, lambda: self.count_held(name) == self.held, limit_s=_LIMIT_S)
        before = self.read_cpu()
        await asyncio.to_thread(self.come, name, port)
        begun_s = time.monotonic()
        found = judge(begun_s, await answers)
        told = (f"{what} {after - before[what]:.2f} s" for what, after in self.read_cpu().items())
        print(f"CPU: {', '.join(told)}")
        return found

    async def measure_awake(
        self, burst: RestBurst | GrpcBurst, name: str, port: int
    ) -> tuple[list[float], Counter[str]]:
        """Seconds from the burst to each answer."""
        self.put(name)
        self.come(name, port)
        await asyncio.to_thread(wait_for, lambda: self.is_awake(name))
        await burst.connect(self.held)
        await asyncio.sleep(0.5)
        return judge(time.monotonic(), await burst.send(name))


def judge(begun_s: float, answers: list[Answer]) -> tuple[list[float], Counter[str]]:
    return [answered_s - begun_s for answered_s, _ in answers], Counter(status for _, status in answers)


@contextlib.contextmanager
def instance(depth: int, service_ms: float) -> Iterator[dict[str, int]]:
    if not service_ms:
        with quick_instance() as port:
            yield {"rest": port, "grpc": port}
        return
    ports = dict(zip(("rest", "grpc"), find_free_ports(2), strict=True))
    argv = ["-m", "tests.gateway.bounded", *map(str, ports.values()), str(_SLOTS), str(depth), str(service_ms / 1000)]
    with running([sys.executable, *argv]):
        wait_for(lambda: loopback.get(f"http://{HOST}:{ports['rest']}/").is_success)
        yield ports


@contextlib.contextmanager
def quick_instance() -> Iterator[int]:
    """Whatever comes is well."""
    (port,) = find_free_ports(1)
    well = {"direct_response": {"status": 200, "body": {"inline_string": "well"}}}
    status = {"response_headers_to_add": [build_header("grpc-status", "0")]}
    routes = [{"match": {"prefix": "/", "grpc": {}}, **well, **status}, {"match": {"prefix": "/"}, **well}]
    hosts = [{"name": "all", "domains": ["*"], "routes": routes}]
    chain = build_connection_manager("instance", virtual_hosts=hosts, replies=())
    listener = {"name": "instance", "address": build_address(Address("0.0.0.0", port)), "filter_chains": [chain]}
    config = json.dumps({"static_resources": {"listeners": [listener]}})
    argv = [str(find_envoy()), "--config-yaml", config, "--concurrency", "1", "--log-level", "error"]
    with running([*argv, "--disable-hot-restart"]):
        wait_for(lambda: loopback.get(f"http://{HOST}:{port}/").is_success)
        yield port


def describe(times_s: list[float], statuses: Counter[str]) -> str:
    cuts = statistics.quantiles(times_s, n=100)
    told = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    return f"p50 {cuts[49]:.3f} s, p95 {cuts[94]:.3f} s, most {max(times_s):.3f} s; {told}"


async def run(bench: Bench, rounds: int, asleep: dict[str, int], awake: dict[str, int]) -> None:
    for number in range(rounds):
        for kind, build in (("rest", RestBurst), ("grpc", GrpcBurst)):
            for what, measure, port in (
                ("held ", bench.measure_asleep, asleep[kind]),
                ("awake", bench.measure_awake, awake[kind]),
            ):
                burst = build(bench.site.data_port)
                found = await measure(burst, f"{what.strip()}-{kind}-{number}", port)
                await burst.close()
                print(f"{kind} {what} {describe(*found)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--held", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--service-ms", type=float, default=1)
    options = parser.parse_args()
    print(f"{options.held} requests, {options.service_ms:g} ms each, {_SLOTS} at once; load {os.getloadavg()[0]:.1f}")
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane(Path(folder) / "plane") as plane,
        instance(_DEPTH, options.service_ms) as asleep,
        instance(_ENDLESS, options.service_ms) as awake,
    ):
        plane.install_crds()
        with GatewaySite(Path(folder) / "site", plane) as site:
            bench = Bench(site, Cluster(plane), options.held)
            uvloop.run(run(bench, options.rounds, asleep, awake))


if __name__ == "__main__":
    main()
