"""`forebay serve` as a person runs it: a process, a manifest, a terminal's worth of output."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

from forebay.local.ports import find_free_ports
from tests import commands, loopback
from tests.commands import Command

REPOSITORIES = Path(__file__).parent / "repositories"
SLOW = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: slow}}
spec:
  model: {{uri: "file:{repository}"}}
  predictor: {{triton: {{}}, concurrency: 2, replicas: {replicas}}}
  queue: {{depth: {depth}, timeout: {timeout}}}
"""
_READY_S = 120


@dataclass
class ServingSession:
    """A running `forebay serve`, its record and what it printed."""

    process: Command
    state: Path
    output: Path
    record: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.record["url"])

    @property
    def folder(self) -> Path:
        return self.state / self.record["name"].replace("/", ".")

    def pids(self, pattern: str) -> list[int]:
        """Processes of this session whose command line holds the pattern."""
        children = subprocess.run(
            ["pgrep", "-f", "-P", str(self.process.pid), pattern], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in children.stdout.split()]

    def front(self, instance: str) -> str:
        """Base URL of an instance's queue."""
        config = json.loads((self.folder / "envoy" / f"{instance}.queue.json").read_text())
        address = config["static_resources"]["listeners"][0]["address"]["socket_address"]
        return f"http://{address['address']}:{address['port_value']}"

    def metrics(self) -> str:
        return loopback.get(self.record["metrics"]).text

    def stop(self, number: signal.Signals = signal.SIGINT, *, wait_s: float = 60) -> int:
        self.process.send_signal(number)
        return self.process.wait(wait_s)


def forebay(*args: str, state: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a forebay command to its end."""
    environment = {**os.environ, "FOREBAY_STATE": str(state), "COLUMNS": "200", **env}
    return commands.run(args, environment=environment, timeout_s=240)


@contextlib.contextmanager
def serving(manifest: str, folder: Path, **env: str) -> Iterator[ServingSession]:
    """Serve a manifest from a folder until the block ends."""
    file, state, output = folder / "manifest.yaml", folder / "state", folder / "output.txt"
    file.write_text(manifest)
    environment = {**os.environ, "FOREBAY_STATE": str(state), "COLUMNS": "200", **env}
    arguments = ["serve", str(file), "--port", str(find_free_ports(1)[0])]
    process = Command(arguments, environment=environment, stdout=output, stderr=output)
    try:
        record = _wait_for_record(process, state, output)
        yield ServingSession(process, state, output, record)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_record(process: Command, state: Path, output: Path) -> dict[str, Any]:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        for path in state.glob("*/record.json"):
            with contextlib.suppress(ValueError):
                return dict(json.loads(path.read_text()))
        assert process.poll() is None, output.read_text()
        time.sleep(0.05)
    raise AssertionError(f"not ready within {_READY_S} s: {output.read_text()}")


def slow_body(seconds: float) -> dict[str, Any]:
    """A REST request to the slow model."""
    return {"inputs": [{"name": "seconds", "shape": [1], "datatype": "FP32", "data": [seconds]}]}


def slow_http(seconds: float) -> list[tritonclient.http.InferInput]:
    each = tritonclient.http.InferInput("seconds", [1], "FP32")
    each.set_data_from_numpy(np.array([seconds], np.float32))
    return [each]


def slow_grpc(seconds: float) -> list[tritonclient.grpc.InferInput]:
    each = tritonclient.grpc.InferInput("seconds", [1], "FP32")
    each.set_data_from_numpy(np.array([seconds], np.float32))
    return [each]
