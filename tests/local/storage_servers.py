"""Real servers of other stores, from the registries of their languages, kept under the cache by version."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from forebay.local.ports import find_free_ports

CACHE = Path(os.environ.get("FOREBAY_CACHE") or Path.home() / ".cache/forebay")
FAKE_GCS = ("fake-gcs-server", "github.com/fsouza/fake-gcs-server", "1.56.1")
REGISTRY = ("registry", "github.com/distribution/distribution/v3/cmd/registry", "3.1.2")
AZURITE = "3.37.0"
BUILD_S = 600


def ensure_go_program(program: tuple[str, str, str]) -> Path:
    """The binary of a Go module, built once."""
    name, module, version = program
    folder = CACHE / f"{name}-{version}"
    if not (folder / name).exists():
        _need("go")
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        environment = {**os.environ, "GOBIN": str(made), "CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
        made.mkdir(parents=True)
        subprocess.run(["go", "install", f"{module}@v{version}"], env=environment, check=True, timeout=BUILD_S)
        _put(made, folder)
    return folder / name


def ensure_azurite() -> Path:
    """Azurite's blob server, a Node program."""
    folder = CACHE / f"azurite-{AZURITE}"
    program = folder / "node_modules/.bin/azurite-blob"
    if not program.exists():
        _need("npm")
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", made, f"azurite@{AZURITE}"]
        subprocess.run(command, check=True, timeout=BUILD_S)
        _put(made, folder)
    return program


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


def _need(tool: str) -> None:
    if shutil.which(tool) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {tool}")


def _put(made: Path, folder: Path) -> None:
    # Another run may have been quicker.
    try:
        made.rename(folder)
    except OSError:
        shutil.rmtree(made)
