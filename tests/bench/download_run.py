"""What one download costs: seconds, CPU, memory; and what is sent again after a kill."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.bench.download_server import build_endpoint
from tests.local.relay import relaying

LIMIT_S = 900
_SAMPLE_S = 0.1


@dataclass(frozen=True)
class Cost:
    """Of one process and its children. Memory is the most at a time, shared pages counted once."""

    wall_s: float
    cpu_s: float
    memory_bytes: int


def measure(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a command to its end. Raises SystemExit with what it said when it fails."""
    with tempfile.TemporaryFile() as log:
        started_s = time.monotonic()
        process = _start(command, environment, log)
        most = [0]
        sampler = threading.Thread(target=_sample, args=(process, most))
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started_s
        process.returncode = os.waitstatus_to_exitcode(status)
        sampler.join()
        if process.returncode:
            raise SystemExit(f"{command[:4]} failed with {process.returncode}: {_tail(log)}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, most[0])


def measure_kill(build: Callable[[Path], list[str]], environment: dict[str, str], folder: Path, half_bytes: int) -> int:
    """Bytes that the server sends for a download that was killed when half of it was sent."""
    server, to = environment["AWS_ENDPOINT_URL"], folder / "killed/to"
    to.parent.mkdir()
    with relaying(server, limit_bytes=half_bytes) as relay, tempfile.TemporaryFile() as log:
        process = _start(build(to), environment | build_endpoint(relay.address), log)
        try:
            _wait_until_held(lambda: relay.sent_bytes, process)
        except TimeoutError as error:
            raise SystemExit(f"{build(to)[:4]} {error}: {_tail(log)}") from error
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with relaying(server) as relay:
        measure(build(to), environment | build_endpoint(relay.address))
        sent_bytes = relay.sent_bytes
    shutil.rmtree(to.parent)
    return sent_bytes


def _wait_until_held(sent_bytes: Callable[[], int], process: subprocess.Popen[bytes]) -> None:
    """Until nothing more comes through: what was sent has been written by then."""
    before, since_s = -1, time.monotonic()
    while (now := sent_bytes()) != before or not now or time.monotonic() - since_s < 3:
        if process.poll() is not None or time.monotonic() - since_s > LIMIT_S:
            raise TimeoutError("was not held at half")
        if now != before:
            before, since_s = now, time.monotonic()
        time.sleep(_SAMPLE_S)


def _start(command: list[str], environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read()[-1000:].decode(errors="replace")


def _sample(process: subprocess.Popen[bytes], most: list[int]) -> None:
    while process.returncode is None and Path(f"/proc/{process.pid}/stat").exists():
        most[0] = max(most[0], sum(_read_pss(pid) for pid in _tree(process.pid)))
        time.sleep(_SAMPLE_S)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        threads = [*Path(f"/proc/{pid}/task").iterdir()]
        children = [int(child) for each in threads for child in (each / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from _tree(child)


def _read_pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
