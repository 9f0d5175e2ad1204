"""What `forebay push` writes to a bucket, and what it leaves alone."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from moto import mock_aws

from forebay.cluster.registry import upload
from forebay.cluster.registry.content import File
from forebay.cluster.registry.upload import Bucket
from forebay.errors import UserError

KEY = "digits/1/model.onnx"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="models")
        yield client


def build(folder: Path, content: bytes, name: str = "model.onnx") -> File:
    path = folder / name
    path.write_bytes(content)
    return File(path, name, len(content), hashlib.sha256(content).hexdigest())


def push(*files: File) -> tuple[int, int]:
    return Bucket("s3://models/digits/1").upload(files, on_bytes=lambda _: None)


def read(s3: Any) -> bytes:
    content: bytes = s3.get_object(Bucket="models", Key=KEY)["Body"].read()
    return content


@pytest.mark.parametrize("content", [b"mine", b"longer than theirs"])
def test_a_file_of_another_push_stays(s3: Any, tmp_path: Path, content: bytes) -> None:
    push(build(tmp_path, b"them"))
    with pytest.raises(UserError, match=r"model\.onnx.* with other content.*--version or --to"):
        push(build(tmp_path, b"name: 'x'", "config.pbtxt"), build(tmp_path, content))
    assert read(s3) == b"them"
    assert s3.list_objects_v2(Bucket="models")["KeyCount"] == 1, "nothing was sent"


def test_a_file_that_something_else_put_there_stays(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="models", Key=KEY, Body=b"mine")
    with pytest.raises(UserError, match="--version or --to"):
        push(build(tmp_path, b"mine"))


def test_a_push_that_broke_off_goes_on(s3: Any, tmp_path: Path) -> None:
    one, other = build(tmp_path, b"mine"), build(tmp_path, b"name: 'x'", "config.pbtxt")
    assert push(one) == (1, 0)
    s3.put_object(Bucket="models", Key="digits/1/", Body=b"")
    # What never came to be whole is nothing that is there.
    s3.create_multipart_upload(Bucket="models", Key="digits/1/config.pbtxt")
    assert push(one, other) == (1, 1)


@pytest.mark.parametrize("size", [4, 17 * 1024 * 1024])
def test_of_two_pushes_at_once_the_second_loses(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    list_, listed = Bucket._list, threading.Event()

    def list_before(self: Bucket) -> Any:
        found = [*list_(self)]
        if not listed.is_set():
            listed.set()
            push(build(tmp_path, b"t" * size))
        return found

    monkeypatch.setattr(upload.Bucket, "_list", list_before)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="--version or --to"):
        push(build(tmp_path / "mine", b"m" * size))
    assert read(s3) == b"t" * size
    listed.clear()
    s3.delete_object(Bucket="models", Key=KEY)
    assert push(build(tmp_path / "mine", b"t" * size)) == (0, 1), "the same content is no clash"


def test_a_server_that_knows_no_conditions_is_written_to_all_the_same(s3: Any, tmp_path: Path) -> None:
    bucket = Bucket("s3://models/digits/1")

    def refuse(request: Any, **_: object) -> AWSResponse | None:
        if "If-None-Match" not in request.headers:
            return None
        answer = b"<Error><Code>NotImplemented</Code></Error>"
        return AWSResponse(request.url, 501, {}, SimpleNamespace(stream=lambda: iter([answer]), read=lambda: answer))

    bucket._client.meta.events.register_first("before-send.s3.PutObject", refuse)
    assert bucket.upload([build(tmp_path, b"mine")], on_bytes=lambda _: None) == (1, 0)
    assert read(s3) == b"mine"
