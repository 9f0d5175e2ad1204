"""A version's content digest: what `forebay push` computed is what arrives, or nothing does."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from forebay.cluster.registry.content import compute_digest, read_files
from forebay.serving.storage import Reason, StorageError, fetch_model
from forebay.serving.storage.__main__ import main
from forebay.serving.storage.place import MANIFEST
from tests.unit.serving.storage.conftest import Web, send
from tests.unit.serving.storage.test_https import packed


def serve(s3: Web, files: dict[str, bytes]) -> None:
    """Be a bucket that holds these files under digits/3."""
    entries = "".join(
        f"<Contents><Key>digits/3/{key}</Key><Size>{len(content)}</Size>"
        f"<ETag>&quot;{hashlib.md5(content, usedforsecurity=False).hexdigest()}&quot;</ETag></Contents>"
        for key, content in files.items()
    )
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
    s3.routes["/models"] = lambda handler: send(handler, 200, listing, {})
    for key, content in files.items():
        s3.serve(f"/models/digits/3/{key}", content)


def write(folder: Path, files: dict[str, bytes]) -> str:
    """The files, and their digest as `forebay push` computes it."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return compute_digest(read_files(folder))


def refused(digest: str, dest: Path, uri: str = "s3://models/digits/3") -> str:
    with pytest.raises(StorageError) as caught:
        fetch_model(uri, dest, digest=digest, allow_loopback=True)
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    return caught.value.message


def test_what_was_pushed_is_what_arrives(s3: Web, tmp_path: Path) -> None:
    files = {"config.pbtxt": b'name: "digits"', "1/model.onnx": b"weights" * 3_000_000, "1/empty.txt": b""}
    digest = write(tmp_path / "pushed", {**files, ".git/HEAD": b"hidden files are not pushed"})
    serve(s3, files)
    assert not fetch_model("s3://models/digits/3", tmp_path / "m", digest=digest).cached
    assert json.loads((tmp_path / "m" / MANIFEST).read_text())["digest"] == digest
    (tmp_path / "m/1/model.onnx").write_bytes(b"changed" * 3_000_000)
    assert fetch_model("s3://models/digits/3", tmp_path / "m", digest=digest).cached, "remembered, not read again"


def test_another_content_is_refused_and_what_was_there_stays(s3: Web, tmp_path: Path) -> None:
    digest = write(tmp_path / "pushed", {"1/model.onnx": b"good"})
    serve(s3, {"1/model.onnx": b"good"})
    fetch_model("s3://models/digits/3", tmp_path / "m", digest=digest)
    serve(s3, {"1/model.onnx": b"evil"})
    message = refused(digest, tmp_path / "m")
    for part in (digest, "s3://models/digits/3", "1/model.onnx", "found sha256:", "forebay push"):
        assert part in message
    assert (tmp_path / "m/1/model.onnx").read_bytes() == b"good"
    asked = len(s3.asked)
    refused(digest, tmp_path / "m")
    assert len(s3.asked) == asked + 1, "only the listing: what was fetched is there"
    serve(s3, {"1/model.onnx": b"good", "1/more.txt": b"smuggled in"})
    assert "of 2 files" in refused(digest, tmp_path / "m")


def test_a_folder_from_before_is_read_once(s3: Web, tmp_path: Path) -> None:
    digest = write(tmp_path / "pushed", {"1/model.onnx": b"good"})
    serve(s3, {"1/model.onnx": b"good"})
    fetch_model("s3://models/digits/3", tmp_path / "m")
    refused(f"sha256:{'0' * 64}", tmp_path / "m")
    assert fetch_model("s3://models/digits/3", tmp_path / "m", digest=digest).cached
    assert json.loads((tmp_path / "m" / MANIFEST).read_text())["digest"] == digest


def test_of_an_archive_the_content_counts(web: Any, tmp_path: Path) -> None:
    uri = web.serve("/m.tar.gz", packed("config.pbtxt", "1/model.onnx"), ETag='"v1"')
    digest = write(tmp_path / "pushed", {"config.pbtxt": b"config.pbtxt", "1/model.onnx": b"1/model.onnx"})
    assert "of 1 files" in refused(f"sha256:{'0' * 64}", tmp_path / "m", uri)
    assert not (tmp_path / "m").exists()
    fetch_model(uri, tmp_path / "m", digest=digest, allow_loopback=True)


def test_files_that_are_used_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = write(tmp_path / "claim/digits", {"1/model.onnx": b"good"})
    command = ["--uri=pvc://claim/digits", f"--to={tmp_path}/m", f"--mounted-at={tmp_path}/claim", f"--digest={digest}"]
    assert main(command) == 0
    fetch_model(f"file:{tmp_path}/claim/digits", tmp_path / "m", digest=digest)
    one = write(tmp_path / "one", {"model.onnx": b"good"})
    fetch_model(f"file:{tmp_path}/one/model.onnx", tmp_path / "m", digest=one)
    (tmp_path / "claim/digits/1/model.onnx").write_bytes(b"evil")
    capsys.readouterr()
    assert main(command) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "DigestMismatch"
    refused(digest, tmp_path / "m", f"file:{tmp_path}/claim/digits")
