"""The gateway with 1,000 models: how soon a change is live, what it costs, and what a request loses by the other 999.

python -m tests.bench.gateway [--models 1000] [--changes 200]
"""

import argparse
import http.client
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from forebay.local.ports import HOST, find_free_ports
from tests.api.apiserver import ControlPlane
from tests.gateway.site import Cluster, GatewaySite, find_own_address, ready, running, wait_for

_TICKS = os.sysconf("SC_CLK_TCK")
_BACKEND = Path(__file__).parents[1] / "gateway/backend.py"
_IDLE_S = 20.0
_LIVE_S = 10.0
_POLL_S = 0.002


class Bench:
    """One cluster, two instances, and the models in front of them."""

    def __init__(self, cluster: Cluster, ports: Sequence[int], models: int) -> None:
        self.cluster = cluster
        self.ports = ports
        self.models = [f"model-{number:04}" for number in range(models)]
        self.address = find_own_address()
        # What each model has: the port of its instance, and its revision.
        self.port = dict.fromkeys(self.models, 0)
        self.revision = dict.fromkeys(self.models, 0)

    def create(self) -> None:
        """All models, and one in a namespace of its own."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._create, self.models))
        self.cluster.put_slice("only", ready(self.address), port=self.ports[0], namespace="kube-public")
        self.cluster.put_deployment("only", traffic=[("only", "r0", 100)], namespace="kube-public")

    def _create(self, name: str) -> None:
        for revision in (0, 1):
            self.cluster.put_slice(f"{name}-{revision}", ready(self.address), port=self.ports[revision])
        self.cluster.put_deployment(name, traffic=[(f"{name}-0", "r0", 100)])

    def change_members(self, name: str) -> str:
        """Give the model's revision the other instance; returns what then answers."""
        port = self.port[name] = 1 - self.port[name]
        self.cluster.put_slice(f"{name}-0", ready(self.address), port=self.ports[port])
        return str(port)

    def change_route(self, name: str) -> str:
        """Give all requests to the other revision; returns what then answers."""
        revision = self.revision[name] = 1 - self.revision[name]
        self.cluster.put_deployment(name, traffic=[(f"{name}-{revision}", f"r{revision}", 100)])
        return f"r{revision}"


def measure_changes(
    bench: Bench,
    site: GatewaySite,
    change: Callable[[str], str],
    found: Callable[[http.client.HTTPResponse], str],
    n: int,
) -> list[float]:
    """Milliseconds from the write's answer to the first request that is answered the new way."""
    times = []
    connection = http.client.HTTPConnection(HOST, site.data_port)
    for name in random.Random(0).sample(bench.models, n):
        wanted = change(name)
        begun_s = time.perf_counter()
        while found(ask(connection, f"/default/{name}/v2")) != wanted:
            assert time.perf_counter() - begun_s < _LIVE_S, f"{name} is not live"
            # Whoever asks all the time takes the core that the change needs.
            time.sleep(_POLL_S)
        times.append((time.perf_counter() - begun_s) * 1000)
    return times


def ask(connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer


def measure_requests(sites: dict[str, tuple[GatewaySite, str]], *, rounds: int, each: int) -> dict[str, list[float]]:
    """Milliseconds of requests one after the other, the sides taking turns."""
    times: dict[str, list[float]] = {name: [] for name in sites}
    connections = {name: http.client.HTTPConnection(HOST, site.data_port) for name, (site, _) in sites.items()}
    for _ in range(rounds):
        for name, (_, path) in sites.items():
            for _ in range(each):
                begun_s = time.perf_counter()
                assert ask(connections[name], path).status == 200
                times[name].append((time.perf_counter() - begun_s) * 1000)
    return times


def measure_idle(pid: int) -> float:
    """Share of a core while nothing happens."""
    begun = read_cpu_s(pid)
    time.sleep(_IDLE_S)
    return (read_cpu_s(pid) - begun) / _IDLE_S


def read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def read_memory_mb(pid: int) -> float:
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def describe(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, most {max(times):.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=200)
    options = parser.parse_args()
    ports = find_free_ports(2)
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane(Path(folder) / "plane") as plane,
        running([sys.executable, str(_BACKEND), str(ports[0]), "0"]),
        running([sys.executable, str(_BACKEND), str(ports[1]), "1"]),
    ):
        plane.install_crds()
        bench = Bench(Cluster(plane), ports, options.models)
        begun_s = time.perf_counter()
        bench.create()
        print(f"{options.models} models written in {time.perf_counter() - begun_s:.0f} s", flush=True)
        run(bench, plane, Path(folder), options.changes)


def run(bench: Bench, plane: ControlPlane, folder: Path, changes: int) -> None:
    begun_s = time.perf_counter()
    with (
        GatewaySite(folder / "many", plane, FOREBAY_WATCH_NAMESPACES="default") as many,
        GatewaySite(folder / "one", plane, FOREBAY_WATCH_NAMESPACES="kube-public") as one,
    ):
        assert many.pilot
        assert many.envoy
        wait_for(lambda: len(many.routes()) == len(bench.models))
        print(f"two gateways ready after {time.perf_counter() - begun_s:.1f} s", flush=True)
        members = measure_changes(bench, many, bench.change_members, lambda answer: answer.headers["x-name"], changes)
        print(f"endpoint change to live: {describe(members)}", flush=True)
        spent_s = {process.pid: read_cpu_s(process.pid) for process in (many.envoy, many.pilot)}
        routes = measure_changes(
            bench, many, bench.change_route, lambda answer: answer.headers["x-forebay-revision"], changes
        )
        envoy_ms, pilot_ms = ((read_cpu_s(pid) - before) / changes * 1000 for pid, before in spent_s.items())
        print(f"route change to live: {describe(routes)}; CPU: Envoy {envoy_ms:.0f} ms, pilot {pilot_ms:.0f} ms")
        times = measure_requests(
            {
                "1 model": (one, "/kube-public/only/v2"),
                f"{len(bench.models)} models": (many, f"/default/{bench.models[-1]}/v2"),
            },
            rounds=20,
            each=100,
        )
        for name, found in times.items():
            print(f"request, {name}: {describe(found)}", flush=True)
        connection = http.client.HTTPConnection(HOST, many.data_port)
        for name in bench.models:
            ask(connection, f"/default/{name}/v2")
        time.sleep(6)  # until Envoy has added up its histograms
        cpu_s, begun_s = read_cpu_s(many.pilot.pid), time.perf_counter()
        size = len(many.get_pilot("/metrics").text)
        wall_s = time.perf_counter() - begun_s
        print(
            f"/metrics: {size / 1e6:.1f} MB in {wall_s:.2f} s, pilot {read_cpu_s(many.pilot.pid) - cpu_s:.2f} s of CPU"
        )
        for name, process in (("pilot", many.pilot), ("Envoy", many.envoy)):
            idle = measure_idle(process.pid)
            print(f"{name}: {read_memory_mb(process.pid):.0f} MB, idle {idle:.3f} of a core", flush=True)


if __name__ == "__main__":
    main()
