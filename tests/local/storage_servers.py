"""Servers of other stores as processes of a test."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from forebay.local.ports import find_free_ports


def free_port() -> int:
    return find_free_ports(1)[0]


@contextmanager
def running(
    command: list[str], port: int, folder: Path, *, address: str = "127.0.0.1", **environment: str
) -> Iterator[None]:
    """A server process, until its port takes connections and the block ends."""
    log = folder / "server.log"
    variables: Mapping[str, str] = {**os.environ, **environment}
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=variables)
    try:
        deadline_s = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((address, port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline_s, log.read_text()[-2000:]
                time.sleep(0.1)
        yield
    finally:
        server.kill()
        server.wait()
