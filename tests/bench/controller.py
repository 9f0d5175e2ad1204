"""The operator with many ModelDeployments on a real apiserver, with no node: throughput, writes, edits, idle, restart.

    python -m tests.bench.controller [--number 1000] [--edits 200]

Everything shares this machine: etcd, the apiserver, the operator, and the client that edits and watches.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import die_with_parent, read_tail
from tests.api.apiserver import ROOT, ControlPlane

NAMESPACE = "bench"
MODELS = f"/apis/forebay.dev/v1alpha1/namespaces/{NAMESPACE}/modeldeployments"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
MOST_S = 300
TICK = os.sysconf("SC_CLK_TCK")


def build_model(index: int) -> dict[str, Any]:
    return {
        "apiVersion": "forebay.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": f"model-{index:04}", "namespace": NAMESPACE},
        "spec": {"model": {"uri": f"s3://models/{index}"}, "predictor": {"triton": {}, "replicas": 1}},
    }


class Operator:
    """The operator's process, its metrics and what it takes."""

    def __init__(self, plane: ControlPlane) -> None:
        (self.port,) = find_free_ports(1)
        # One for all: each that is made reads the certificates of the system, which takes 45 ms.
        self._client = httpx.Client(base_url=f"http://{HOST}:{self.port}", trust_env=False, timeout=30)
        self.log = plane.folder / "operator.log"
        env = {
            **os.environ, "KUBECONFIG": str(plane.kubeconfig), "FOREBAY_PORT": str(self.port),
            "FOREBAY_LOG_FORMAT": "text", "FOREBAY_NAMESPACE": NAMESPACE,
        }  # fmt: skip
        with self.log.open("ab") as written:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "forebay.controller"],
                env=env, stdout=written, stderr=written, cwd=ROOT, preexec_fn=die_with_parent,  # noqa: PLW1509
            )  # fmt: skip

    def read(self) -> dict[str, float]:
        """Its metrics: names with the values of their labels."""
        text = self._client.get("/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {" ".join([each.name, *each.labels.values()]): each.value for each in samples}

    def count_writes(self) -> int:
        """Its writes so far."""
        return int(sum(value for name, value in self.read().items() if name.startswith("forebay_api_writes_total")))

    def wait_quiet(self, models: int) -> None:
        """Until it has looked at all of them, and nothing waits."""
        deadline = time.monotonic() + MOST_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                found = self.read()
                seen = sum(value for name, value in found.items() if name.startswith("forebay_deployments "))
                if seen >= models and not found["forebay_reconcile_queue"]:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.5)  # to ask takes CPU, too
        raise RuntimeError(f"the operator did not come to rest:\n{read_tail(self.log, max_bytes=4000)}")

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU that it took."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def memory_mib(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._client.close()


class Patches:
    """When each Deployment was seen with which image, from a watch of our own."""

    def __init__(self, client: httpx.Client) -> None:
        self.seen: dict[tuple[str, str], float] = {}
        self.changed = threading.Condition()
        self._client = client
        self._version = client.get(DEPLOYMENTS, params={"limit": "1"}).json()["metadata"]["resourceVersion"]
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        params = {"watch": "1", "resourceVersion": self._version}
        with (
            contextlib.suppress(httpx.HTTPError),  # at the end the apiserver goes
            self._client.stream("GET", DEPLOYMENTS, params=params, timeout=None) as lines,
        ):
            for line in lines.iter_lines():
                body = json.loads(line)["object"]
                key = (body["metadata"]["labels"]["app.kubernetes.io/instance"], str(body["spec"]["replicas"]))
                with self.changed:
                    self.seen[key] = time.monotonic()
                    self.changed.notify_all()

    def wait(self, key: tuple[str, str]) -> float:
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.seen, timeout=30):
                raise RuntimeError(f"no patch for {key} within 30 s")
            return self.seen[key]


def percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[int(share) - 1]


@contextlib.contextmanager
def plane_in(folder: Path) -> Iterator[ControlPlane]:
    with ControlPlane(folder) as plane:
        plane.install_crds()
        plane.kubectl("create", "namespace", NAMESPACE)
        yield plane


def measure(number: int, edits: int, *, idle_s: float) -> dict[str, float]:
    """All figures, by what they are."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as made, plane_in(Path(made)) as plane, plane.client(timeout=60) as client:
        for index in range(number):
            client.post(MODELS, json=build_model(index)).raise_for_status()
        began = time.monotonic()
        operator = Operator(plane)
        launched = time.monotonic()
        while True:  # since its first write: importing Python's packages is another matter
            with contextlib.suppress(httpx.HTTPError):
                if operator.count_writes():
                    break
            began = time.monotonic()
            if began - launched > MOST_S:
                raise RuntimeError(f"the operator wrote nothing in {MOST_S} s")
            time.sleep(0.05)
        cpu = operator.cpu_s
        operator.wait_quiet(number)
        took = time.monotonic() - began
        children = len(client.get(DEPLOYMENTS, params={"limit": "2000"}).json()["items"])
        if children != number:
            raise RuntimeError(f"{children} Deployments of {number}")
        figures["applied per second"] = number / took
        figures["CPU per object, ms"] = (operator.cpu_s - cpu) / number * 1000
        figures["writes per object"] = operator.count_writes() / number
        figures["memory after, MiB"] = operator.memory_mib
        patches = Patches(client)
        delays = []
        for round_ in range(edits):
            name = f"model-{random.randrange(number):04}"
            replicas = 2 + round_
            body = {"spec": {"predictor": {"replicas": replicas % 900 + 2}}}
            sent = time.monotonic()
            client.patch(
                f"{MODELS}/{name}", json=body, headers={"Content-Type": "application/merge-patch+json"}
            ).raise_for_status()
            delays.append(patches.wait((name, str(replicas % 900 + 2))) - sent)
            time.sleep(0.02)
        figures["edit p50, ms"] = percentile(delays, 50) * 1000
        figures["edit p99, ms"] = percentile(delays, 99) * 1000
        operator.wait_quiet(number)
        cpu, began = operator.cpu_s, time.monotonic()
        time.sleep(idle_s)
        figures["idle cores"] = (operator.cpu_s - cpu) / (time.monotonic() - began)
        figures["idle memory, MiB"] = operator.memory_mib
        operator.stop()
        began = time.monotonic()
        again = Operator(plane)
        again.wait_quiet(number)
        figures["restart, s"] = time.monotonic() - began
        figures["writes of a restart"] = again.count_writes()
        figures["memory after a restart, MiB"] = again.memory_mib
        again.stop()
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--number", type=int, default=1000)
    options.add_argument("--edits", type=int, default=200)
    options.add_argument("--idle", type=float, default=30)
    chosen = options.parse_args()
    for name, value in measure(chosen.number, chosen.edits, idle_s=chosen.idle).items():
        print(f"{name:30} {value:10.2f}")


if __name__ == "__main__":
    main()
