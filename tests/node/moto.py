"""moto's server: S3 and STS on one port."""

import contextlib
import json
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3

from tests.local.storage_servers import free_port, running
from tests.node.tap import Tap

ROLE = "arn:aws:iam::123456789012:role/models"
# Of keys that only STS gives.
SESSION = "ASIA"


@contextlib.contextmanager
def serve_moto(folder: Path, address: str = "127.0.0.1") -> Iterator[int]:
    """Its port; the bucket `roles` has m/weights.bin."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", str(port)]
    with running(command, port, folder):
        url = f"http://{address}:{port}"
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
        client.create_bucket(Bucket="roles")
        client.put_object(Bucket="roles", Key="m/weights.bin", Body=b"weights")
        yield port


def read_claims(tap: Tap) -> dict[str, Any]:
    """What the token says that STS was asked with, and the role that was asked for."""
    body = next(each for each in tap.posted if "WebIdentityToken" in each).rpartition("\r\n\r\n")[2]
    asked = parse_qs(body)
    payload = asked["WebIdentityToken"][0].split(".")[1]
    return {**json.loads(urlsafe_b64decode(payload + "==")), "role": asked["RoleArn"][0]}


def build_token(subject: str) -> str:
    claims = {"aud": ["sts.amazonaws.com"], "sub": subject, "exp": int(time.time()) + 3600}
    parts = ({"alg": "none"}, claims, {})
    return ".".join(urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts)
