"""hf:// against a server that speaks the two endpoints of the Hub that are used: a commit's files, and a file."""

import functools
import hashlib
import json
import random
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from forebay.serving import storage
from forebay.serving.storage import Reason, StorageError
from forebay.serving.storage.hf import HfSource
from tests.unit.serving.storage.conftest import Web, send

fetch_model = functools.partial(storage.fetch_model, allow_loopback=True)
BIG = random.Random(5).randbytes(20 * 1024 * 1024 + 7)
CONFIG = b'{"architectures": []}'
COMMIT = "5" * 40


def git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def revision(files: dict[str, bytes], **changes: Any) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer as /api/models/ORG/MODEL/revision/REVISION?blobs=true does."""
    siblings = []
    for name, content in files.items():
        entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git_name(content)}
        if len(content) > 1024:
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 135}
        siblings.append({**entry, **changes})
    body = json.dumps({"id": "org/digits", "sha": COMMIT, "siblings": siblings}).encode()
    return lambda handler: send(handler, 200, body, {"Content-Type": "application/json"})


@pytest.fixture
def hub(plain_web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Web:
    """A hub with the model org/digits, whose large file lies on another server, as on the real one."""
    monkeypatch.setenv("HF_ENDPOINT", plain_web.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "nobody-logged-in"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    plain_web.routes["/api/models/org/digits/revision/main"] = revision({"1/model.onnx": BIG, "config.json": CONFIG})
    plain_web.serve(f"/org/digits/resolve/{COMMIT}/config.json", CONFIG, ranges=False)
    plain_web.serve("/cdn/blob", BIG)
    away = plain_web.address.replace("127.0.0.1", "localhost") + "/cdn/blob?Signature=s3cret"
    plain_web.routes[f"/org/digits/resolve/{COMMIT}/1/model.onnx"] = lambda handler: send(
        handler, 302, b"", {"Location": away}
    )
    return plain_web


def failing(uri: str, dest: Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        fetch_model(uri, dest)
    assert "s3cret" not in str(caught.value)
    return caught.value


def test_a_model_arrives_in_ranges_and_is_not_fetched_again(
    hub: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_t0ken")
    fetched = fetch_model("hf://org/digits", tmp_path / "m")
    assert (fetched.bytes, fetched.cached) == (len(BIG) + len(CONFIG), False)
    assert (tmp_path / "m/1/model.onnx").read_bytes() == BIG
    assert (tmp_path / "m/config.json").read_bytes() == CONFIG
    ranges = [asked for path, asked in hub.asked if path.startswith("/cdn")]
    assert {"bytes=0-8388607", "bytes=8388608-16777215", f"bytes=16777216-{len(BIG) - 1}"} == set(ranges)
    sent = dict(zip([path for path, _ in hub.asked], hub.authorizations, strict=True))
    assert sent["/cdn/blob?Signature=s3cret"] is None, "the token goes to the Hub alone"
    assert {token for path, token in sent.items() if "/cdn" not in path} == {"Bearer hf_t0ken"}
    assert fetch_model("hf://org/digits@main", tmp_path / "other").cached is False
    asked = len(hub.asked)
    assert fetch_model("hf://org/digits", tmp_path / "m").cached
    assert len(hub.asked) == asked + 1


def test_one_folder_of_it(hub: Web, tmp_path: Path) -> None:
    fetch_model("hf://org/digits/1", tmp_path / "m")
    assert (tmp_path / "m/model.onnx").read_bytes() == BIG
    error = failing("hf://org/digits/config.jsn", tmp_path / "n")
    assert (error.reason, "hf://org/digits@main/config.json?" in error.message) == (Reason.NOT_FOUND, True)


def test_a_signature_that_runs_out_is_asked_for_again(hub: Web, tmp_path: Path) -> None:
    proper, refused = hub.routes["/cdn/blob"], []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if "16777216" in handler.headers["Range"] and not refused:
            refused.append(True)
            hub.routes["/cdn/blob"] = proper
            send(handler, 403, b"", {})
        else:
            proper(handler)

    source = HfSource("hf://org/digits/1", connections=1, allow_loopback=True)
    (item,) = source.find().items
    assert b"".join(source.read(item, 0, 10)) == BIG[:10]
    hub.routes["/cdn/blob"] = answer
    with pytest.raises(StorageError) as caught:
        list(source.read(item, 16777216, 16777226))
    assert caught.value.transient
    assert b"".join(source.read(item, 16777216, 16777226)) == BIG[16777216:16777226]
    source.close()


@pytest.mark.parametrize("changes", [{"lfs": {"sha256": "0" * 64, "size": 21, "pointerSize": 1}}, {"blobId": "0" * 40}])
def test_other_bytes(hub: Web, tmp_path: Path, changes: dict[str, Any]) -> None:
    hub.routes["/api/models/org/digits/revision/main"] = revision({"config.json": CONFIG}, **changes)
    error = failing("hf://org/digits", tmp_path / "m")
    assert (error.reason, "digest" in error.message) == (Reason.CORRUPT_DOWNLOAD, True)


@pytest.mark.parametrize(
    "case",
    [
        (401, "RepoNotFound", "", Reason.NOT_FOUND, "HF_TOKEN"),
        (404, "RepoNotFound", "t", Reason.NOT_FOUND, "typing error"),
        (404, "RevisionNotFound", "", Reason.NOT_FOUND, "@main"),
        (401, "GatedRepo", "", Reason.CREDENTIALS_MISSING, "terms"),
        (403, "GatedRepo", "t", Reason.ACCESS_DENIED, "terms"),
        (403, "", "t", Reason.ACCESS_DENIED, "read access"),
        (418, "", "", Reason.SERVER_ERROR, "418"),
    ],
)
def test_refusals(
    hub: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[int, str, str, Reason, str]
) -> None:
    status, code, token, reason, said = case
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    hub.routes["/api/models/org/digits/revision/main"] = lambda handler: send(
        handler, status, b"{}", {"X-Error-Code": code} if code else {}
    )
    error = failing("hf://org/digits", tmp_path / "m")
    assert (error.reason, said in error.message) == (reason, True), error


def test_an_old_token(hub: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "old")
    said = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub.routes["/api/models/org/digits/revision/main"] = lambda handler: send(handler, 401, b"{}", said)
    assert failing("hf://org/digits", tmp_path / "m").reason is Reason.CREDENTIALS_EXPIRED


def test_a_gated_file(hub: Web, tmp_path: Path) -> None:
    path = f"/org/digits/resolve/{COMMIT}/1/model.onnx"
    hub.routes[path] = lambda handler: send(handler, 401, b"", {"X-Error-Code": "GatedRepo"})
    assert failing("hf://org/digits", tmp_path / "m").reason is Reason.CREDENTIALS_MISSING


def test_a_hub_that_sends_us_to_metadata(hub: Web, tmp_path: Path) -> None:
    path = f"/org/digits/resolve/{COMMIT}/1/model.onnx"
    hub.routes[path] = lambda handler: send(handler, 302, b"", {"Location": "http://169.254.169.254/latest"})
    assert failing("hf://org/digits", tmp_path / "m").reason is Reason.UNSUPPORTED_URI


@pytest.mark.parametrize("uri", ["hf://digits", "hf:///digits", "hf://org/"])
def test_no_model(uri: str, tmp_path: Path) -> None:
    assert failing(uri, tmp_path / "m").reason is Reason.UNSUPPORTED_URI


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("forebay.serving.storage.retry.FIRST_PAUSE_S", 0.001)
    assert failing("hf://org/digits", tmp_path / "m").reason is Reason.ENDPOINT_UNREACHABLE
