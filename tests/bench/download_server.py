"""The S3 server that downloads are compared against: versitygw over a folder, from the Go module proxy."""

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig

from tests.local.storage_servers import free_port, running
from tests.programs import ensure_go_program

# Of the servers that a registry has (SeaweedFS, MinIO's forks) the one that does least per byte: it sends files.
SERVER = ("versitygw", "github.com/versity/versitygw/cmd/versitygw", "1.8.0")
BUCKET, LARGE, SMALL = "models", "large", "small"
KIB, MIB = 1024, 1024 * 1024
_KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret"}


@dataclass(frozen=True)
class Amounts:
    """What is downloaded: one object of so many bytes, and so many of 64 KiB."""

    large_bytes: int
    small_count: int


@contextmanager
def serving(folder: Path, amounts: Amounts) -> Iterator[dict[str, str]]:
    """A server with a bucket that holds the amounts; what a client's environment needs."""
    port, data = free_port(), folder / "data"
    data.mkdir()
    environment = {**_KEYS, **build_endpoint(f"http://127.0.0.1:{port}"), "AWS_REGION": "us-east-1"}
    environment |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    command = [
        str(ensure_go_program(SERVER)),
        "--port",
        f"127.0.0.1:{port}",
        "--quiet",
        "--keep-alive",
        "posix",
        str(data),
    ]
    keys = {"ROOT_ACCESS_KEY_ID": _KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_ACCESS_KEY": _KEYS["AWS_SECRET_ACCESS_KEY"]}
    with running(command, port, folder, **keys):
        _fill(environment, folder, amounts)
        # From bytecode, as in an image, whatever this machine's variables say.
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        yield {**os.environ, **environment, **bytecode}


def _fill(environment: dict[str, str], folder: Path, amounts: Amounts) -> None:
    """Upload with boto3 as people do: in parts, and with the checksums that it adds."""
    client: Any = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=_KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    chunk = random.Random(1).randbytes(8 * MIB)
    source = folder / "source"
    with source.open("wb") as file:
        for number in range(amounts.large_bytes // len(chunk)):
            file.write(number.to_bytes(8, "big") + chunk[8:])
    client.upload_file(str(source), BUCKET, f"{LARGE}/1/model.bin", Config=TransferConfig(multipart_chunksize=16 * MIB))
    source.unlink()

    def put(number: int) -> None:
        body = chunk[number : number + 64 * KIB]
        client.put_object(Bucket=BUCKET, Key=f"{SMALL}/{number % 100}/{number}.bin", Body=body)

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(put, range(amounts.small_count)):
            pass


def build_endpoint(address: str) -> dict[str, str]:
    """The variables that lead to a server: s5cmd has one of its own."""
    return {"AWS_ENDPOINT_URL": address, "S3_ENDPOINT_URL": address}
