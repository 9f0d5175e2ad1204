"""Instances follow the load, on a real node with a real autoscaler: each component by itself, up at once, down late."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.models import build, describe, list_events, list_pods, make_lean, read_status, wait_ready

pytestmark = pytest.mark.timeout(400)

Json = dict[str, Any]
NAMESPACE = "test-autoscaling"
# How long each of both takes is what the request asks for.
PREDICTOR = """
import time
from forebay.serving import Tensor


class Predictor:
    inputs = [Tensor("x", "FP32", [-1, 2])]
    outputs = [Tensor("y", "FP32", [-1, 2])]

    def predict(self, inputs):
        time.sleep(float(inputs["x"][0, 0]))
        return {"y": inputs["x"]}
"""
TRANSFORMER = """
import time
import numpy as np


class Transformer:
    def preprocess(self, payload):
        time.sleep(payload["transformer_s"])
        return {"x": np.array([[payload["predictor_s"], 0]], np.float32)}

    def postprocess(self, outputs):
        return {"slept_s": float(outputs["y"][0, 0])}
"""
# Down soon, for the test not to wait five minutes. What is not said of scaleUp stays as it is.
SCALED: Json = {
    "min": 1, "max": 3, "target": {"queue": 6}, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}},
}  # fmt: skip


@pytest.fixture(scope="module")
def scaled(kubectl: Kubectl, gateway: str) -> Iterator[Kubectl]:
    """`both`, of which predictor and transformer scale."""
    found = kubectl.within(NAMESPACE)
    kubectl("create", "namespace", NAMESPACE)
    parts = {
        # The transformer may pass on as many as come: what it waits for is not its own load.
        role: make_lean(
            {"custom": {"script": script}, "concurrency": slots, "autoscaling": SCALED}, downloads=False
        )
        for role, script, slots in (("predictor", PREDICTOR, 4), ("transformer", TRANSFORMER, 64))
    }  # fmt: skip
    found.apply(build("both", **parts))
    wait_ready(found, "both")
    yield found
    kubectl("delete", "namespace", NAMESPACE, timeout_s=120)


@contextmanager
def loading(gateway: str, *, predictor_s: float, transformer_s: float, clients: int) -> Iterator[Counter[int]]:
    """Clients that ask again as soon as they are answered; the codes of the answers."""
    codes: Counter[int] = Counter()
    stopping = threading.Event()
    url = f"http://{gateway}/{NAMESPACE}/both/predict"
    times = {"predictor_s": predictor_s, "transformer_s": transformer_s}

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            # Each begins at a time of its own and takes one of its own: else all would come at once.
            stopping.wait(random.uniform(0, 2))
            while not stopping.is_set():
                share = random.uniform(0.5, 1.5)
                body = {name: time_s * share for name, time_s in times.items()}
                codes[client.post(url, json=body).status_code] += 1

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(ask) for _ in range(clients)]
        try:
            yield codes
        finally:
            stopping.set()
            for each in asking:
                each.result(90)


def count_wanted(kubectl: Kubectl) -> dict[str, int]:
    return {each["name"]: each["replicas"] for each in read_status(kubectl, "both")["components"]}


def tell(kubectl: Kubectl) -> str:
    return f"{kubectl.run('describe', 'hpa').stdout}\n{describe(kubectl, 'both')}"


@pytest.mark.parametrize("heavy", ["predictor", "transformer"])
def test_a_step_of_load_scales_out_and_in_the_one_that_needs_it(heavy: str, scaled: Kubectl, gateway: str) -> None:
    other = "transformer" if heavy == "predictor" else "predictor"
    eventually(lambda: count_wanted(scaled) == {heavy: 1, other: 1}, timeout_s=180, explain=lambda: tell(scaled))
    times = {"predictor_s": 0.0, "transformer_s": 0.0, f"{heavy}_s": 2.0}
    # Of work for no time, ten times a second, the other one has too little to be seen.
    with loading(gateway, clients=24, **times) as codes:
        eventually(lambda: count_wanted(scaled)[heavy] == 3, timeout_s=60, explain=lambda: tell(scaled))
        wait_ready(scaled, "both")
        assert len(list_pods(scaled, "both", heavy)) == 3
        assert count_wanted(scaled)[other] == 1, tell(scaled)
    assert set(codes) == {200}, codes
    messages = [each["message"] for each in list_events(scaled, "both") if each["reason"] == "Scaled"]
    assert any(each.startswith(f"{heavy}: ") and "requests at each, target 6" in each for each in messages), messages
    # The floor holds for a minute or so after the last need, and then the autoscaler's own window.
    eventually(lambda: count_wanted(scaled) == {heavy: 1, other: 1}, timeout_s=240, explain=lambda: tell(scaled))
    eventually(lambda: len(list_pods(scaled, "both", heavy)) == 1, timeout_s=60)
