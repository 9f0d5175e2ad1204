"""Triton with one model, tried and measured: until it is ready, then with zeros of the declared shapes."""

import contextlib
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from forebay.local.errors import LocalError
from forebay.local.measuring import Measurement, measure
from forebay.local.models import holds_forests, show_sources
from forebay.local.ports import HOST, find_free_ports
from forebay.local.process import read_tail
from forebay.local.triton.environment import ensure_triton
from forebay.plan.envoy import Address
from forebay.plan.resolve import Workload
from forebay.plan.servers import ServerAddresses, build_server_args
from forebay.triton_log import explain_failure, explain_hang

_START_S = 300
_REQUEST_S = 60
_STOP_S = 20


def measure_triton(workload: Workload, repository: Path, folder: Path, *, say: Callable[[str], None]) -> Measurement:
    """Start Triton over a repository and measure it. Raises LocalError with the reason where it doesn't get there."""
    triton = ensure_triton(say, forests=holds_forests(repository))
    http, grpc, metrics, egress = (Address(HOST, port) for port in find_free_ports(4))
    addresses = ServerAddresses(
        http=http, grpc=grpc, metrics=metrics, egress=egress, model_dir=str(repository), script="", environment=""
    )
    argv = [str(triton.binary), *build_server_args(workload, addresses), f"--backend-directory={triton.backends}"]
    # Instances of one machine share /dev/shm.
    argv.append(f"--backend-config=python,shm-region-prefix-name=forebay-check-{os.getpid()}-")
    env = {**os.environ, **triton.env, **workload.env}
    log = folder / "triton.log"
    url = f"http://{http.host}:{http.port}"
    with _running(argv, env, log) as process, httpx.Client(base_url=url, timeout=_REQUEST_S, trust_env=False) as client:
        start_s = _wait_until_ready(process, client, log)
        request = _build_request(client, workload.served_model)
        send = (lambda: _send(client, request)) if request and _send(client, request) else None
        return measure(process.pid, start_s=start_s, concurrency=workload.limits.slots, send=send)


@contextlib.contextmanager
def _running(argv: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        # Its Python models run in processes of their own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for file in Path("/dev/shm").glob(f"forebay-check-{os.getpid()}-*"):  # noqa: S108  (the kernel's name for it)
            file.unlink(missing_ok=True)


def _wait_until_ready(process: subprocess.Popen[bytes], client: httpx.Client, log: Path) -> float:
    started = time.monotonic()
    while (elapsed_s := time.monotonic() - started) < _START_S:
        if process.poll() is not None:
            reason = show_sources(explain_failure(read_tail(log)))
            raise LocalError(reason or f"Triton ended with status {process.returncode}:\n{read_tail(log)[-2000:]}")
        if reason := explain_hang(read_tail(log)):
            raise LocalError(show_sources(reason))
        with contextlib.suppress(httpx.HTTPError):
            if client.get("/v2/health/ready").is_success:
                return elapsed_s
        time.sleep(0.1)
    raise LocalError(f"Triton was not ready within {_START_S} s:\n{read_tail(log)[-2000:]}")


def _build_request(client: httpx.Client, model: str) -> httpx.Request | None:
    """Zeros of the declared shapes, with 1 for every -1; None where the model doesn't tell them."""
    with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
        answer = client.get(f"/v2/models/{model}")
        inputs = [_build_zeros(each) for each in answer.raise_for_status().json()["inputs"]]
        return client.build_request("POST", f"/v2/models/{model}/infer", json={"inputs": inputs})
    return None


def _build_zeros(tensor: dict[str, Any]) -> dict[str, Any]:
    shape = [1 if int(size) == -1 else int(size) for size in tensor["shape"]]
    zero: object = {"BYTES": "", "BOOL": False}.get(tensor["datatype"], 0)
    return {
        "name": tensor["name"], "shape": shape, "datatype": tensor["datatype"], "data": [zero] * math.prod(shape),
    }  # fmt: skip


def _send(client: httpx.Client, request: httpx.Request) -> bool:
    """Whether zeros are answered: a model may refuse them."""
    with contextlib.suppress(httpx.HTTPError):
        return client.send(request).is_success
    return False
