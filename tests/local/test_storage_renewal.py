"""s3:// with credentials that run out in the middle of a download: moto behind a gate that lets them."""

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from forebay.serving.storage import Reason, StorageError, download, fetch
from tests.local.test_storage_sts import ROLE, address, aws  # noqa: F401  (fixtures)
from tests.unit.serving.storage.conftest import Web, plain_web, send  # noqa: F401  (fixtures)

BIG = random.Random(6).randbytes(24 * 1024 * 1024 - 5)
URI = "s3://models/large"
ENDS_SOON = timedelta(minutes=1)


class Gate:
    """Passes requests on, those with a session's token only while it is valid; takes them all back with a read."""

    def __init__(self, server: str, *, takes_back_at: int) -> None:
        self.valid: set[str] = set()
        self.given = self.reads = 0
        self._server, self._takes_back_at = urlsplit(server).netloc, takes_back_at

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        key = re.search(r"Credential=(\w+)/", handler.headers.get("Authorization", ""))
        if key is not None and key[1] not in self.valid:
            send(handler, 400, b"<Error><Code>ExpiredToken</Code><Message>over</Message></Error>", {})
            return
        status, headers, body = self._ask(handler)
        if "Range" in handler.headers:
            self.reads += 1
            if self.reads == self._takes_back_at:
                self.valid.clear()
        send(handler, status, self._note(body), headers)

    def _ask(self, handler: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        content = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        connection = HTTPConnection(self._server, timeout=60)
        connection.request(handler.command, handler.path, content, dict(handler.headers.items()))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        kept = {
            name: value for name, value in answer.getheaders() if name.lower().startswith(("content-", "etag", "x-"))
        }
        kept.pop("Content-Length", None)
        return answer.status, kept, body

    def _note(self, body: bytes) -> bytes:
        """What STS gives is valid from now on, and said to end soon."""
        key = re.search(rb"<AccessKeyId>(\w+)</AccessKeyId>", body[:10_000])
        if key is None:
            return body
        self.valid.add(key[1].decode())
        self.given += 1
        end = (datetime.now(UTC) + ENDS_SOON).isoformat().encode()
        return re.sub(rb"<Expiration>[^<]*<", b"<Expiration>" + end + b"<", body)


@pytest.fixture
def large(address: str, aws: pytest.MonkeyPatch) -> Iterator[str]:  # noqa: F811
    """The server's address, with an object that comes in three pieces, one after the other."""
    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.put_object(Bucket="models", Key="large/model.onnx", Body=BIG)
    aws.setattr(download, "WORKERS", 1)
    yield address
    client.delete_object(Bucket="models", Key="large/model.onnx")


def test_a_role_is_assumed_anew_in_a_long_download(
    large: str,
    aws: pytest.MonkeyPatch,  # noqa: F811
    plain_web: Web,  # noqa: F811
    tmp_path: Path,
) -> None:
    gate = Gate(large, takes_back_at=2)
    plain_web.routes["*"] = gate.answer
    (tmp_path / "token").write_text("e30.e30.e30")
    aws.setenv("AWS_ENDPOINT_URL", plain_web.address)
    aws.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    aws.setenv("AWS_ROLE_ARN", ROLE)
    assert (fetch(URI, tmp_path / "m") / "model.onnx").read_bytes() == BIG
    assert gate.given >= 2
    assert gate.reads == 3, "none was refused"


def test_a_given_session_that_ends_is_named_and_the_download_goes_on_with_the_next(
    large: str,
    aws: pytest.MonkeyPatch,  # noqa: F811
    plain_web: Web,  # noqa: F811
    tmp_path: Path,
) -> None:
    gate = Gate(large, takes_back_at=2)
    plain_web.routes["*"] = gate.answer
    aws.setenv("AWS_ENDPOINT_URL", plain_web.address)
    for number in (1, 2):
        gate.valid.add(f"KEY{number}")
        aws.setenv("AWS_ACCESS_KEY_ID", f"KEY{number}")
        aws.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        aws.setenv("AWS_SESSION_TOKEN", f"token{number}")
        if number == 1:
            with pytest.raises(StorageError, match="AWS_SESSION_TOKEN") as caught:
                fetch(URI, tmp_path / "m")
            assert caught.value.reason is Reason.CREDENTIALS_EXPIRED
            assert not (tmp_path / "m").exists()
    assert (fetch(URI, tmp_path / "m") / "model.onnx").read_bytes() == BIG
    assert gate.reads == 3, "what had arrived isn't fetched again"
