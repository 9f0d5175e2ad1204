"""What clients lose by a shadow, whatever it does: the same requests with none, and with one of each kind, in turns.

python -m tests.bench.shadow [--rounds 8] [--requests 300] [--model-ms 10]

Of a model that takes 0 ms all is the gateway's own time, and its processors' when they are few.
"""

import argparse
import contextlib
import http.client
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from forebay.local.ports import HOST, find_free_ports
from tests import loopback
from tests.api.apiserver import ControlPlane
from tests.bench.gateway import read_cpu_s, read_memory_mb
from tests.bench.load import percentile
from tests.gateway.odd import BEHAVIOURS
from tests.gateway.site import Cluster, GatewaySite, find_own_address, ready, running, wait_for

_OFF = "none"
_PAUSE_S = 0.005
_BODY = b"x" * 2000


class Bench:
    """Deployments before one instance, each with a shadow of its own kind, but for one that has none."""

    def __init__(
        self, site: GatewaySite, cluster: Cluster, live: int, dark: Mapping[str, int], *, model_ms: float
    ) -> None:
        self.site, address = site, find_own_address()
        behave(live, "same", model_ms)
        for kind in (_OFF, *dark):
            cluster.put_slice(f"{kind}-1", ready(address), port=live)
            shadow = {"shadow": {"deployment": f"{kind}-dark"}} if kind != _OFF else {}
            cluster.put_deployment(kind, traffic=[(f"{kind}-1", "aaaa1111", 100)], **shadow)
        for kind, port in dark.items():
            cluster.put_slice(f"{kind}-dark-1", ready(address), port=port)
            cluster.put_deployment(f"{kind}-dark", traffic=[(f"{kind}-dark-1", "bbbb2222", 100)])
            behave(port, kind, model_ms)
        for kind in (_OFF, *dark):
            wait_for(lambda kind=kind: self.is_ready(kind))

    def is_ready(self, kind: str) -> bool:
        told = self.site.routes()[f"default/{kind}"]
        return bool(told["workloads"]) and (kind == _OFF or not told["shadow"]["problem"])

    def count(self, kind: str) -> dict[str, int]:
        """What became of the copies."""
        told = self.site.get_pilot(f"/comparisons?deployment=default/{kind}").json()["comparisons"]
        counts = told[f"default/{kind}"].get(f"{kind}-dark-1", {})
        return {name: count for name, count in counts.items() if isinstance(count, int) and count}

    def measure(self, kind: str, requests: int) -> list[float]:
        """The times of so many requests in ms, one after the other. All must be answered."""
        path, times_ms = f"/default/{kind}/v2/models/m/infer", []
        with contextlib.closing(http.client.HTTPConnection(HOST, self.site.data_port, timeout=30)) as connection:
            for _ in range(requests):
                begun_s = time.perf_counter()
                connection.request("POST", path, body=_BODY)
                answer = connection.getresponse()
                answer.read()
                times_ms.append((time.perf_counter() - begun_s) * 1e3)
                assert answer.status == 200, answer.status
                time.sleep(_PAUSE_S)
        return times_ms

    def read_cpu_s(self) -> float:
        """Of Envoy."""
        assert self.site.envoy
        return read_cpu_s(self.site.envoy.pid)

    def read_memory_mb(self) -> tuple[float, float]:
        """Of Envoy, and of the pilot."""
        assert self.site.envoy
        assert self.site.pilot
        return read_memory_mb(self.site.envoy.pid), read_memory_mb(self.site.pilot.pid)


def behave(port: int, kind: str, model_ms: float) -> None:
    """Tell an instance how to be, and how long its model takes."""
    assert loopback.post(f"http://{HOST}:{port}/behave", content=f"{kind} {model_ms}").is_success


def run(bench: Bench, rounds: int, requests: int) -> None:
    """All kinds in turns, and a table."""
    kinds = (_OFF, *BEHAVIOURS)
    times_ms: defaultdict[str, list[float]] = defaultdict(list)
    memory_mb: dict[str, tuple[float, float]] = {}
    cpu_s: Counter[str] = Counter()
    for kind in kinds:
        bench.measure(kind, 20)
    begun = " and ".join(f"{each:.0f} MB" for each in bench.read_memory_mb())
    for number in range(rounds):
        # Who comes after whom must not matter.
        for kind in (*kinds[number % len(kinds) :], *kinds[: number % len(kinds)]):
            before_s = bench.read_cpu_s()
            times_ms[kind] += bench.measure(kind, requests)
            cpu_s[kind] += bench.read_cpu_s() - before_s
            memory_mb[kind] = bench.read_memory_mb()
    print(f"{requests * rounds} requests of each; at the beginning Envoy and the pilot have {begun}")
    print("| shadow | p50 ms | p99 ms | p50 ratio | p99 ratio | Envoy CPU us | Envoy MB | pilot MB | copies |")
    print(f"|{'---|' * 9}")
    base = [percentile(times_ms[_OFF], share) for share in (50, 99)]
    for kind in kinds:
        found = [percentile(times_ms[kind], share) for share in (50, 99)]
        ratios = " | ".join(f"{each / of:.2f}" for each, of in zip(found, base, strict=True))
        times = " | ".join(f"{each:.2f}" for each in found)
        used = " | ".join(f"{each:.0f}" for each in (cpu_s[kind] / len(times_ms[kind]) * 1e6, *memory_mb[kind]))
        print(f"| {kind} | {times} | {ratios} | {used} | {bench.count(kind)} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--model-ms", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forebay-shadow-") as name, ControlPlane(Path(name) / "plane") as plane:
        plane.install_crds()
        plane.kubectl("create", "namespace", "forebay-system")
        names = ("live", *BEHAVIOURS)
        ports = find_free_ports(2 * len(names))
        live, *dark = ports[: len(names)]
        with contextlib.ExitStack() as stack:
            for port, grpc_port in zip(ports[: len(names)], ports[len(names) :], strict=True):
                # A shadow has a machine of its own: here it gives way to who is copied.
                manners = [] if port == live else ["nice", "-n", "19"]
                command = [*manners, sys.executable, "-m", "tests.gateway.odd", str(port), str(grpc_port)]
                stack.enter_context(running(command))
                wait_for(lambda port=port: loopback.get(f"http://{HOST}:{port}/seen").is_success)
            site = stack.enter_context(GatewaySite(Path(name) / "site", plane))
            shadows = dict(zip(BEHAVIOURS, dark, strict=True))
            bench = Bench(site, Cluster(plane), live, shadows, model_ms=options.model_ms)
            run(bench, options.rounds, options.requests)


if __name__ == "__main__":
    main()
