"""Rollout after rollout under load, on the test cluster: what the clients saw of them.

Run: `python -m tests.bench.rollouts [--cycles 50] [--rate 100] [--json FILE]`, with a cluster of `hack/cluster up`, or
of FOREBAY_KUBECONFIG, which Forebay is installed on from this checkout. One ModelDeployment with a transformer and a
predictor, both of which each rollout changes; whoever answers says which of both were asked. A request has failed when
it wasn't answered with 200, or by a transformer and a predictor of different revisions.
"""

import argparse
import asyncio
import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from tests.e2e import installation
from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.conftest import start_cluster
from tests.e2e.models import LEAN, SMALL, build, describe, find_condition, read_status, wait_ready

Json = dict[str, Any]
NAMESPACE, NAME = "bench-rollouts", "pair"
WAIT_S = 120
PATIENCE_S = 60
PREDICTOR = """
import os
import numpy as np
from forebay.serving import Tensor


class Predictor:
    inputs = [Tensor("x", "INT32", [1])]
    outputs = [Tensor("round", "INT32", [1])]

    def predict(self, inputs):
        return {"round": np.array([int(os.environ["ROUND"])], np.int32)}
"""
TRANSFORMER = """
import os
import numpy as np


class Transformer:
    def preprocess(self, payload):
        return {"x": np.zeros([1], np.int32)}

    def postprocess(self, outputs):
        return {"transformer": int(os.environ["ROUND"]), "predictor": int(outputs["round"][0])}
"""
STEPS: Json = {"canary": {"steps": [{"weight": 20}, {"weight": 60, "pause": "2s"}]}}
LOOK: Json = {"blueGreen": {}, "scaleDownDelay": "1h"}


@dataclass
class Answers:
    """What the clients saw."""

    codes: Counter[str] = field(default_factory=Counter)
    mixed: int = 0
    rounds: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return self.codes.total() - self.codes["200"] + self.mixed


class Clients:
    """Requests at a steady rate from a thread of their own, until the block ends."""

    def __init__(self, gateway: str, *, rate: float) -> None:
        self.answers = Answers()
        self._url, self._interval_s = f"http://{gateway}/{NAMESPACE}/{NAME}/predict", 1 / rate
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Clients":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(2 * PATIENCE_S)

    async def _run(self) -> None:
        asking: set[asyncio.Task[None]] = set()
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            due_s = time.monotonic()
            while not self._stopping.is_set():
                task = asyncio.create_task(self._ask(session))
                asking.add(task)
                task.add_done_callback(asking.discard)
                due_s += self._interval_s
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await asyncio.gather(*asking)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        began_s, answers = time.monotonic(), self.answers
        try:
            async with session.post(self._url, json={}) as answer:
                text = await answer.text()
                answers.codes[str(answer.status)] += 1
                if answer.status != 200:
                    answers.failures.append(f"{time.strftime('%H:%M:%S')} {answer.status} {text[:200]}")
                    return
                told = json.loads(text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answers.codes[type(error).__name__] += 1
            answers.failures.append(f"{time.strftime('%H:%M:%S')} {error!r}")
            return
        answers.slowest_s = max(answers.slowest_s, time.monotonic() - began_s)
        answers.rounds[told["predictor"]] += 1
        if told["transformer"] != told["predictor"]:
            answers.mixed += 1
            answers.failures.append(f"{time.strftime('%H:%M:%S')} a mixed pair: {told}")


class Model:
    """The ModelDeployment, and what is done to it. Each round has environment variables of its own."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self.round = 0
        self._next = itertools.count(1)

    def create(self) -> None:
        # Instances that start take the node's processors from who serves: that isn't what is looked for here.
        queue = {"depth": 500, "timeout": "30s"}
        self.kubectl.apply(build(NAME, queue=queue, **self._build_components(0)))
        wait_ready(self.kubectl, NAME, timeout_s=WAIT_S)

    def _build_components(self, number: int) -> Json:
        def make(script: str, container: str) -> Json:
            named = {"name": container, "env": [{"name": "ROUND", "value": str(number)}]}
            template = {"spec": {"containers": [named], "initContainers": [{"name": "queue", **LEAN}]}}
            return {"custom": {"script": script}, "resources": SMALL, "concurrency": 8, "podTemplate": template}

        return {"predictor": make(PREDICTOR, "predictor"), "transformer": make(TRANSFORMER, "transformer")}

    def patch(self, rollout: Json, *, number: int | None = None) -> None:
        """Say how it is to go, and ask for another round, at once."""
        changes = [{"op": "add", "path": "/spec/rollout", "value": rollout}]
        if number is not None:
            for role, each in self._build_components(number).items():
                changes.append({"op": "add", "path": f"/spec/{role}/podTemplate", "value": each["podTemplate"]})
        self.kubectl("patch", "md", NAME, "--type=json", "-p", json.dumps(changes))

    def begin(self, rollout: Json) -> int:
        number = next(self._next)
        self.patch(rollout, number=number)
        return number

    def wait_phase(self, phase: str) -> Json:
        """The status, once the rollout is in that phase."""

        def find() -> Json | None:
            status = read_status(self.kubectl, NAME)
            return status if status.get("rollout", {}).get("phase") == phase else None

        return eventually(find, timeout_s=WAIT_S, explain=lambda: describe(self.kubectl, NAME))

    def wait_served(self, number: int, *, pods: int = 2) -> Json:
        """Until the round serves alone, and that many pods are left. The status then."""
        wait_ready(self.kubectl, NAME, timeout_s=WAIT_S)

        def find_alone() -> Json | None:
            found = self.kubectl.get("pods", f"--selector=app.kubernetes.io/instance={NAME}")["items"]
            status = read_status(self.kubectl, NAME)
            is_ready = find_condition(status)["status"] == "True"
            return status if len(found) == pods and is_ready and is_whole(status) else None

        status = eventually(find_alone, timeout_s=WAIT_S, explain=lambda: describe(self.kubectl, NAME))
        self.round = number
        return status


def is_whole(status: Json) -> bool:
    """Whether what is meant to serve does, alone."""
    return not status.get("rollout") and status["activeRevision"] == status["targetRevision"]


def go_at_once(model: Model) -> None:
    """Without steps."""
    model.wait_served(model.begin({}))


def go_by_steps(model: Model) -> None:
    """A canary that a person lets go on, to its end."""
    number = model.begin(STEPS)
    target = model.wait_phase("Waiting")["targetRevision"]
    model.patch({**STEPS, "promote": {"revision": target}})
    model.wait_served(number)


def abort(model: Model) -> None:
    """A canary that is aborted in a step, and whose spec is turned back then."""
    model.begin(STEPS)
    target = model.wait_phase("Waiting")["targetRevision"]
    model.patch({**STEPS, "abort": target})
    model.wait_phase("Aborted")
    model.patch({}, number=model.round)
    model.wait_served(model.round)


def turn_back(model: Model) -> None:
    """A canary whose spec is turned back in a step."""
    model.begin(STEPS)
    model.wait_phase("Waiting")
    model.patch(STEPS, number=model.round)
    model.wait_served(model.round)


def look_first(model: Model) -> None:
    """Blue-green: looked at, let on, and switched back at once to what is warm."""
    before, number = model.round, model.begin(LOOK)
    target = model.wait_phase("Waiting")["targetRevision"]
    model.patch({**LOOK, "promote": {"revision": target}})
    model.wait_served(number, pods=4)
    model.patch(LOOK, number=before)
    model.wait_served(before)


def recreate(model: Model) -> None:
    """The old instances end before the new ones start, and requests wait."""
    model.wait_served(model.begin({"recreate": {"maxHeld": 10000}}))


def roll_back(model: Model) -> None:
    """To a revision of the history, by a field; then the spec follows."""
    before, old = model.round, read_status(model.kubectl, NAME)["activeRevision"]
    new = model.wait_served(model.begin({}))["activeRevision"]
    model.patch({"rollback": {"from": new, "to": old}})
    model.wait_served(before)
    model.patch({}, number=before)
    model.wait_served(before)


KINDS: tuple[Callable[[Model], None], ...] = (
    go_by_steps, look_first, recreate, roll_back, abort, turn_back, go_at_once,
)  # fmt: skip


def measure(model: Model, answers: Answers, *, cycles: int, console: Console) -> Iterator[str]:
    """Each cycle's kind, when it is over."""
    for number, cycle in enumerate(itertools.islice(itertools.cycle(KINDS), cycles), 1):
        began_s, before = time.monotonic(), len(answers.failures)
        cycle(model)
        took_s, asked = time.monotonic() - began_s, answers.codes.total()
        console.print(f"{number:3} {cycle.__name__:12} {took_s:5.1f} s, {asked} requests, {answers.failed} failed")
        for each in answers.failures[before:][:5]:
            console.print(f"      {each}")
        yield cycle.__name__


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--json", type=Path)
    options, console = parser.parse_args(), Console()
    kubectl = Kubectl(os.environ.get("FOREBAY_KUBECONFIG") or start_cluster())
    if not os.environ.get("FOREBAY_KUBECONFIG"):
        installation.build_images()
    installation.install(kubectl)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s", timeout_s=130)
    kubectl("create", "namespace", NAMESPACE)
    kinds: Counter[str] = Counter()
    clients = Clients(installation.find_gateway(kubectl), rate=options.rate)
    try:
        model = Model(kubectl.within(NAMESPACE))
        model.create()
        with clients:
            kinds.update(measure(model, clients.answers, cycles=options.cycles, console=console))
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")
        show(kinds, clients.answers, console)
        if options.json:
            options.json.write_text(json.dumps({"kinds": kinds, **vars(clients.answers)}, indent=1))


def show(kinds: Counter[str], answers: Answers, console: Console) -> None:
    table = Table("rollouts", "requests", "failed", "of these mixed pairs", "slowest s", "rounds that answered")
    cells = (kinds.total(), answers.codes.total(), answers.failed, answers.mixed, f"{answers.slowest_s:.2f}")
    table.add_row(*map(str, cells), str(len(answers.rounds)))
    console.print(table)
    console.print(dict(kinds))


if __name__ == "__main__":
    main()
