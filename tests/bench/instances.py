"""Instances of a model inside one Triton: what they bring, and what it costs to load one while requests go on.

    python -m tests.bench.instances [--seconds 8] [--rounds 3]

Throughput with one instance against one to three, each under the same load; then the longest that a client waits while
another instance is loaded, which takes it seconds: by HTTP, the naive way, and by gRPC, as Forebay does it, in turn at
the same Triton. The model only sleeps: the figures are about instances, and hardly about this machine's CPU.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import tritonclient.grpc

from tests.local.serving_session import ServingSession, serving

CLIENTS, SERVICE_S, INIT_S = 12, 0.05, 4
MODEL = f"""
import time

import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        time.sleep({INIT_S})

    def execute(self, requests):
        answers = []
        for request in requests:
            time.sleep({SERVICE_S})
            x = pb.get_input_tensor_by_name(request, "x").as_numpy()
            answers.append(pb.InferenceResponse([pb.Tensor("y", x)]))
        return answers
"""
CONFIG = """
backend: "python"
max_batch_size: 0
input [{ name: "x" data_type: TYPE_FP32 dims: [1] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [1] }]
instance_group [{ count: 1 kind: KIND_CPU }]
"""
MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: sleeper}}
spec:
  model: {{uri: "file:{repository}"}}
  predictor: {{triton: {{{instances}}}, concurrency: 8, podTemplate: {{spec: {{containers: [{pod}]}}}}}}
"""
BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}
# Without what scales it, so that the load alone is seen.
BY_HAND = "{name: predictor, args: [--model-control-mode=explicit, '--load-model=*']}"


class Clients:
    """They ask one request after the other. `answers` are when each was sent, when it was answered, and how."""

    def __init__(self, url: str) -> None:
        self.answers: list[tuple[float, float, int]] = []
        self._url = f"{url}/v2/models/sleeper/infer"
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(CLIENTS) as pool:
            asking = [pool.submit(self._ask) for _ in range(CLIENTS)]
            try:
                yield
            finally:
                self._stop.set()
        for each in asking:
            each.result()

    def _ask(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not self._stop.is_set():
                began_s = time.monotonic()
                code = client.post(self._url, json=BODY).status_code
                self.answers.append((began_s, time.monotonic(), code))

    def rate(self, since_s: float, until_s: float) -> float:
        return sum(since_s <= end < until_s for _, end, _ in self.answers) / (until_s - since_s)

    def longest_s(self, since_s: float, until_s: float = float("inf")) -> float:
        return max(end - began for began, end, _ in self.answers if since_s <= end < until_s)

    def failed(self) -> int:
        return sum(code != 200 for _, _, code in self.answers)


@contextmanager
def sleeper(folder: Path, *, instances: str = "", pod: str = "") -> Iterator[ServingSession]:
    folder.mkdir()
    model = folder / "repository/sleeper/1/model.py"
    model.parent.mkdir(parents=True)
    model.write_text(MODEL)
    (model.parents[1] / "config.pbtxt").write_text(CONFIG)
    with serving(MANIFEST.format(repository=folder / "repository", instances=instances, pod=pod), folder) as session:
        yield session


def address(session: ServingSession, cluster: str) -> str:
    """Where the queue finds its Triton."""
    config = json.loads((session.folder / "envoy/predictor-0.queue.json").read_text())
    (found,) = [each for each in config["static_resources"]["clusters"] if each["name"] == cluster]
    endpoint = found["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    socket = endpoint["address"]["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"


def measure_rate(session: ServingSession, *, instances: int, seconds: float) -> tuple[float, int]:
    """Answers per second once there are so many instances, and how many requests failed since the load began."""
    clients = Clients(session.url)
    with clients.running(), httpx.Client(trust_env=False) as client:
        deadline = time.monotonic() + 120
        while (found := count(session, client)) != instances or slots(session) < instances * 8:
            assert time.monotonic() < deadline, f"{found} instances"
            time.sleep(0.2)
        began_s = time.monotonic()
        time.sleep(seconds)
        rate = clients.rate(began_s, began_s + seconds)
    return rate, clients.failed()


def count(session: ServingSession, client: httpx.Client) -> int:
    config = client.get(f"http://{address(session, 'model_http')}/v2/models/sleeper/config").json()
    return int(config["instance_group"][0]["count"])


def slots(session: ServingSession) -> int:
    lines = [line for line in session.metrics().splitlines() if line.startswith("forebay_queue_slots{")]
    return int(float(lines[0].split()[-1]))


def measure_stall(session: ServingSession, load: Callable[[int], None], instances: int) -> tuple[float, float]:
    """The longest that a client waited for an answer before a load began, and from then on."""
    clients = Clients(session.url)
    with ThreadPoolExecutor(1) as pool:
        with clients.running():
            time.sleep(3)
            began_s = time.monotonic()
            loading = pool.submit(load, instances)
            time.sleep(INIT_S + 2)
        # Triton ends it when no request waits any more.
        loading.result(60)
    assert not clients.failed()
    return clients.longest_s(0, began_s), clients.longest_s(began_s)


def build_override(session: ServingSession, instances: int) -> str:
    with httpx.Client(trust_env=False) as client:
        config = client.get(f"http://{address(session, 'model_http')}/v2/models/sleeper/config").json()
    config["instance_group"][0]["count"] = instances
    return json.dumps(config)


def load_by_http(session: ServingSession, instances: int) -> None:
    url = f"http://{address(session, 'model_http')}/v2/repository/models/sleeper/load"
    with httpx.Client(trust_env=False, timeout=120) as client:
        body = {"parameters": {"config": build_override(session, instances)}}
        client.post(url, json=body).raise_for_status()


def load_by_grpc(session: ServingSession, instances: int) -> None:
    with tritonclient.grpc.InferenceServerClient(address(session, "model_grpc")) as client:
        client.load_model("sleeper", config=build_override(session, instances))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as name:
        rates = []
        for number, most in enumerate((1, 3)):
            with sleeper(Path(name) / str(number), instances=f"instances: {{max: {most}}}") as session:
                rate, failed = measure_rate(session, instances=most, seconds=options.seconds)
            rates.append(rate)
            print(f"{most} at most: {rate:.1f} answers/s, {failed} failed", flush=True)
        print(f"throughput: {rates[1] / rates[0]:.2f} x")
        waits: dict[str, list[float]] = {"none": [], "http": [], "grpc": []}
        with sleeper(Path(name) / "stall", pod=BY_HAND) as session:
            ways = {"http": load_by_http, "grpc": load_by_grpc}
            # The first load makes all instances anew where a Python model's folder can be written to.
            load_by_grpc(session, 2)
            load_by_grpc(session, 1)
            for _ in range(options.rounds):
                for way, load in ways.items():
                    before_s, after_s = measure_stall(session, lambda number, load=load: load(session, number), 2)
                    waits["none"].append(before_s)
                    waits[way].append(after_s)
                    load_by_grpc(session, 1)
        longest = {way: statistics.median(found) for way, found in waits.items()}
        for way, wait_s in longest.items():
            told = "before one is loaded" if way == "none" else f"while one is loaded by {way}"
            print(f"longest wait {told}: {wait_s:.2f} s")
        print(f"by gRPC: {longest['grpc'] / longest['http']:.2f} x of that by HTTP")


if __name__ == "__main__":
    main()
