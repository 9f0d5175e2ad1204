"""The custom-metrics API with many instances: how soon an autoscaler is answered, also beside one that is silent.

    python -m tests.bench.metrics_api [--instances 500] [--questions 60]

The API, the apiserver before it and what it asks are the real thing; the sidecars are one server that says what a real
one said, at an address of this machine for each. Beside it stands what the apiserver itself takes to list the pods.
"""

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.api.apiserver import ControlPlane
from tests.chart.charts import render
from tests.metrics_api.site import LABELS, NAMESPACE, OWN, MetricsSite, wait_for

QUESTION = f"/namespaces/{NAMESPACE}/pods/*/forebay_queue"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
STATS = b"".join(
    b'envoy_cluster_upstream_rq_%s{envoy_cluster_name="queue"} 3\n' % name
    for name in (b"active", b"pending_active", b"total")
)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (len(STATS), STATS)
SILENT = "127.3.0.1"
_PAUSE_S = 0.6  # what was asked within half a second isn't asked again


class Sidecar(asyncio.Protocol):
    """Answers each request at once, and at one address never."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.silent = transport.get_extra_info("sockname")[0] == SILENT

    def data_received(self, data: bytes) -> None:
        if not self.silent:
            self.transport.write(ANSWER)  # type: ignore[attr-defined]


def serve_sidecars(port: int) -> None:
    """On all addresses of loopback."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Sidecar, "0.0.0.0", port, backlog=2048)
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()


def measure(ask: Callable[[], int], questions: int, wanted: int) -> list[float]:
    """Milliseconds of each answer, once the connections are there; who is left out for being late is told."""
    wait_for(lambda: ask() == wanted)
    times, late = [], 0
    for _ in range(questions):
        time.sleep(_PAUSE_S)
        begun_s = time.perf_counter()
        late += wanted - ask()
        times.append((time.perf_counter() - begun_s) * 1000)
    if late:
        print(f"{late} answers of {wanted * questions} came too late to count")
    return times


def describe(times: list[float]) -> str:
    quantiles = statistics.quantiles(times, n=100, method="inclusive")
    return f"p50 {quantiles[49]:.0f} ms, p99 {quantiles[98]:.0f} ms"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--instances", type=int, default=500)
    options.add_argument("--questions", type=int, default=60)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as made, ControlPlane(Path(made), controller_manager=True) as plane:
        for name in (NAMESPACE, OWN):
            plane.kubectl("create", "namespace", name)
        site = MetricsSite(Path(made) / "site", plane)
        serve_sidecars(site.sidecar_port)
        wait_for(lambda: site.client.get(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default").is_success)
        for number in range(chosen.instances):
            site.put_pod(f"pod-{number:03}", f"127.2.{number // 250}.{number % 250 + 1}", app="m")
        site.install([each for each in render(release="forebay") if "metrics" in each["metadata"]["name"]])
        site.start()
        wait_for(lambda: site.get("").is_success)
        selector = {"labelSelector": ",".join(f"{key}={value}" for key, value in {**LABELS, "app": "m"}.items())}

        def ask() -> int:
            return len(site.get(QUESTION, **selector).raise_for_status().json()["items"])

        def count_pods() -> int:
            return len(site.client.get(PODS, params=selector).raise_for_status().json()["items"])

        listed = measure(count_pods, chosen.questions, chosen.instances)
        answered = measure(ask, chosen.questions, chosen.instances)
        print(f"{chosen.instances} pods listed by the apiserver:  {describe(listed)}")
        print(f"their queues, by the metrics API:   {describe(answered)}")
        print(f"ratio of the medians: {statistics.median(answered) / statistics.median(listed):.2f}")
        site.put_pod("silent", SILENT, app="m")
        wait_for(lambda: count_pods() == chosen.instances + 1)
        beside = measure(ask, min(20, chosen.questions), chosen.instances)
        print(f"the same beside one that is silent: {describe(beside)}")
        site.stop()


if __name__ == "__main__":
    main()
