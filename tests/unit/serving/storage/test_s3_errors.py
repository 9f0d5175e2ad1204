"""What S3 servers say, through the real boto3: the answers come from a server that a test tells what to say."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from forebay.serving.storage import Reason, StorageError, fetch

LISTING = """<?xml version="1.0"?><ListBucketResult><Name>models</Name><KeyCount>1</KeyCount><IsTruncated>false
</IsTruncated><Contents><Key>{key}</Key><Size>{size}</Size><ETag>"{etag}"</ETag></Contents></ListBucketResult>"""


def says(status: int, body: str, headers: dict[str, str] | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body.encode())

    return answer


def failing(dest: Path, uri: str = "s3://models/digits/3") -> StorageError:
    with pytest.raises(StorageError) as caught:
        fetch(uri, dest)
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "reason", "hint"),
    [
        (404, "NoSuchBucket", Reason.BUCKET_NOT_FOUND, "no such bucket"),
        (403, "AccessDenied", Reason.ACCESS_DENIED, "s3:ListBucket"),
        (403, "InvalidAccessKeyId", Reason.ACCESS_DENIED, "AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", Reason.ACCESS_DENIED, "AWS_SECRET_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", Reason.ACCESS_DENIED, "clock"),
        (400, "ExpiredToken", Reason.CREDENTIALS_EXPIRED, "AWS_SESSION_TOKEN"),
        (503, "SlowDown", Reason.SERVER_ERROR, "503 SlowDown"),
        (500, "InternalError", Reason.SERVER_ERROR, "500 InternalError"),
        (400, "Strange", Reason.SERVER_ERROR, "400 Strange"),
    ],
)
def test_codes(  # noqa: PLR0913, PLR0917 (one argument per fixture and parameter)
    s3: Any, tmp_path: Path, status: int, code: str, reason: Reason, hint: str
) -> None:
    s3.routes["*"] = says(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>")
    error = failing(tmp_path / "m")
    assert error.reason is reason
    assert hint in error.message
    assert "s3://models/digits/3" in error.message
    assert "do-not-print-me" not in error.message


def test_the_wrong_region(s3: Any, tmp_path: Path) -> None:
    body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>"
    s3.routes["*"] = says(400, body)
    error = failing(tmp_path / "m")
    assert error.reason is Reason.WRONG_REGION
    assert error.message.endswith("set AWS_REGION to eu-north-1")


def test_a_token_that_expires_during_the_download(s3: Any, tmp_path: Path) -> None:
    s3.routes["/models"] = says(200, LISTING.format(key="digits/3/a", size=5, etag="x"))
    s3.routes["*"] = says(400, "<Error><Code>ExpiredToken</Code></Error>")
    assert failing(tmp_path / "m").reason is Reason.CREDENTIALS_EXPIRED


def test_an_object_that_is_replaced_during_the_download(s3: Any, tmp_path: Path) -> None:
    s3.routes["/models"] = says(200, LISTING.format(key="digits/3/a", size=5, etag="x"))
    s3.routes["*"] = says(412, "<Error><Code>PreconditionFailed</Code></Error>")
    error = failing(tmp_path / "m")
    assert (error.reason, "replaced" in error.message) == (Reason.CORRUPT_DOWNLOAD, True)


def test_corrupted_bytes(s3: Any, tmp_path: Path) -> None:
    s3.routes["/models"] = says(200, LISTING.format(key="digits/3/a", size=5, etag="5d41402abc4b2a76b9719d911017c592"))
    s3.routes["*"] = says(200, "hellO")
    error = failing(tmp_path / "m")
    assert (error.reason, "ETag" in error.message) == (Reason.CORRUPT_DOWNLOAD, True)
    assert not (tmp_path / "m").exists()
    s3.routes["*"] = says(200, "hello")
    assert (fetch("s3://models/digits/3", tmp_path / "m") / "a").read_bytes() == b"hello"


def test_the_etag_of_an_object_encrypted_with_kms_is_no_checksum(s3: Any, tmp_path: Path) -> None:
    s3.routes["/models"] = says(200, LISTING.format(key="digits/3/a", size=5, etag="0" * 32))
    s3.routes["*"] = says(200, "hello", {"x-amz-server-side-encryption": "aws:kms"})
    assert (fetch("s3://models/digits/3", tmp_path / "m") / "a").read_bytes() == b"hello"


@pytest.mark.parametrize("key", ["digits/3/../../etc/passwd", "digits/3//a", "digits/3/a\\b"])
def test_keys_that_cannot_be_files(s3: Any, tmp_path: Path, key: str) -> None:
    s3.routes["/models"] = says(200, LISTING.format(key=key, size=5, etag="x"))
    error = failing(tmp_path / "m")
    assert (error.reason, "rename or delete" in error.message) == (Reason.BAD_LAYOUT, True)


def test_missing_and_half_credentials(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.routes["*"] = says(403, "<Error><Code>AccessDenied</Code></Error>")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert failing(tmp_path / "m").reason is Reason.CREDENTIALS_MISSING
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert failing(tmp_path / "m").reason is Reason.CREDENTIALS_MISSING


def test_no_server_and_no_bucket(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(tmp_path / "m", "s3:///digits").reason is Reason.UNSUPPORTED_URI
    assert failing(tmp_path / "m", "s3://no_such+bucket/digits").reason is Reason.BUCKET_NOT_FOUND
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    error = failing(tmp_path / "m")
    assert (error.reason, "127.0.0.1:1" in error.message) == (Reason.ENDPOINT_UNREACHABLE, True)
