"""Try a serving script: the real server as a process, one request over REST and gRPC, and what came of it."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
from tritonclient.grpc.service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    GRPCInferenceServiceStub,
    add_GRPCInferenceServiceServicer_to_server,
)

from forebay.local.loopback import build_client
from forebay.local.ports import HOST, find_free_ports
from forebay.serving.protobuf import decode_tensors, encode_request
from forebay.serving.source import Role
from forebay.serving.tensors import Arrays, datatype_of
from forebay.serving.v2 import decode_request

NAME = "model"
_STOP_TIMEOUT_S = 10.0
_LOG_LINES = 30


class TrialError(Exception):
    """The server did not start, or did not answer; the message has its log's last lines."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What to try."""

    script: Path
    role: Role
    folder: Path
    """A folder for the server's log."""
    model_dir: Path | None = None
    environment: Path | None = None
    """A folder with the script's libraries."""
    concurrency: int = 8
    timeout_s: float = 120.0


@dataclass
class FakePredictor(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Stands behind a transformer that has no predictor at hand: keeps the tensors it is sent, and refuses."""

    received: Arrays = field(default_factory=dict)

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Keep the tensors."""
        self.received = decode_tensors(request.inputs, request.raw_input_contents)
        context.abort(grpc.StatusCode.UNAVAILABLE, "there is no predictor here")

    @contextlib.contextmanager
    def listening(self) -> Iterator[str]:
        """Its address, while it listens."""
        server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
        add_GRPCInferenceServiceServicer_to_server(self, server)
        port = server.add_insecure_port(f"{HOST}:0")
        server.start()
        try:
            yield f"{HOST}:{port}"
        finally:
            server.stop(None)


@dataclass
class Server:
    """A server process that is ready."""

    process: subprocess.Popen[bytes]
    log: Path
    http_port: int
    grpc_port: int
    timeout_s: float
    load_s: float = 0.0

    def send(self, example: dict[str, Any]) -> httpx.Response:
        """Send the example over REST."""
        with self.connect() as client:
            return client.send(self.build_request(example))

    def connect(self) -> httpx.Client:
        """A client for any number of threads."""
        return build_client(timeout_s=self.timeout_s)

    def build_request(self, example: dict[str, Any]) -> httpx.Request:
        """The example as a request over REST."""
        url = f"http://{HOST}:{self.http_port}"
        if example["kind"] == "tensors":
            return httpx.Request("POST", f"{url}/v2/models/{NAME}/infer", json=example["body"])
        if example["kind"] == "file":
            headers = {"content-type": example["content_type"]}
            return httpx.Request("POST", f"{url}/predict", content=Path(example["path"]).read_bytes(), headers=headers)
        return httpx.Request("POST", f"{url}/predict", json=example["value"])

    def send_grpc(self, example: dict[str, Any]) -> Arrays:
        """Send an example of tensors over gRPC; raises grpc.RpcError."""
        decoded = decode_request(json.dumps(example["body"]).encode())
        with grpc.insecure_channel(f"{HOST}:{self.grpc_port}") as channel:
            message = encode_request(NAME, "", decoded.inputs, {})
            answer = GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=self.timeout_s)
        return decode_tensors(answer.outputs, answer.raw_output_contents)

    def log_tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


@contextlib.contextmanager
def run_server(trial: Trial, predictor: str) -> Iterator[Server]:
    """The server, once it is ready; TrialError where it does not get there. It is always ended."""
    http_port, grpc_port = find_free_ports(2)
    log = trial.folder / "server.log"
    flags = {
        "--script": trial.script, "--name": NAME, "--role": trial.role, "--host": HOST, "--http-port": http_port,
        "--grpc-port": grpc_port, "--concurrency": 4 * trial.concurrency, "--shutdown-timeout": 2,
    }  # fmt: skip
    flags |= {"--model-dir": trial.model_dir} if trial.model_dir else {}
    flags |= {"--environment": trial.environment} if trial.environment else {}
    flags |= {"--predictor": predictor} if trial.role == "transformer" else {}
    arguments = [str(part) for flag in flags.items() for part in flag]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "forebay.serving", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
        )  # fmt: skip
    server = Server(process, log, http_port, grpc_port, trial.timeout_s)
    try:
        server.load_s = _wait_until_ready(server)
        yield server
    finally:
        _end(process)


def _wait_until_ready(server: Server) -> float:
    started = time.monotonic()
    with build_client(timeout_s=2.0) as client:
        while (elapsed_s := time.monotonic() - started) < server.timeout_s:
            if server.process.poll() is not None:
                raise TrialError(server.log_tail() or f"the server ended with status {server.process.returncode}")
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"http://{HOST}:{server.http_port}/v2/health/ready").status_code == 200:
                    return elapsed_s
            time.sleep(0.05)
    raise TrialError(f"load did not end in {server.timeout_s:g} s\n{server.log_tail()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def describe_tensors(arrays: Arrays) -> str:
    """Tensors in short: name, datatype, shape and the first values."""
    return "; ".join(
        f"{name} {datatype_of(array)} {list(array.shape)} = {_first_values(array)}" for name, array in arrays.items()
    )


def _first_values(array: Any) -> str:
    values = [value if isinstance(value, bytes) else round(value, 4) for value in array.reshape(-1)[:5].tolist()]
    return f"{values}{' ...' if array.size > 5 else ''}"
