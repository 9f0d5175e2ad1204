"""https against a real TLS server."""

import base64
import functools
import hashlib
import io
import os
import random
import tarfile
import time
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from forebay.serving import storage
from forebay.serving.storage import Progress, Reason, StorageError

fetch = functools.partial(storage.fetch, allow_loopback=True)
fetch_model = functools.partial(storage.fetch_model, allow_loopback=True)
BIG = random.Random(1).randbytes(20 * 1024 * 1024 + 17)


def failing(uri: str, dest: Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        fetch(uri, dest)
    return caught.value


def test_one_file_arrives_in_ranges_and_is_not_fetched_again(web: Any, tmp_path: Path) -> None:
    uri = web.serve("/m/model.onnx", BIG, ETag='"v1"')
    seen: list[Progress] = []
    fetched = fetch_model(uri, tmp_path / "m", seen.append)
    assert (fetched.bytes, fetched.cached) == (len(BIG), False)
    assert (tmp_path / "m/model.onnx").read_bytes() == BIG
    assert seen[-1] == Progress(len(BIG), len(BIG), 1, 1)
    assert len([asked for asked in web.asked if asked[1] and asked[1] != "bytes=0-0"]) == 3
    sent = web.sent_bytes
    assert fetch_model(uri, tmp_path / "m").cached
    assert web.sent_bytes == sent + 1, "the first byte is asked for, to learn the version"
    assert not (tmp_path / "m.partial").exists()


def test_a_new_version_replaces_the_folder(web: Any, tmp_path: Path) -> None:
    fetch(web.serve("/model.onnx", b"old", ETag='"v1"'), tmp_path / "m")
    fetched = fetch_model(web.serve("/model.onnx", b"newer", ETag='"v2"'), tmp_path / "m")
    assert not fetched.cached
    assert (tmp_path / "m/model.onnx").read_bytes() == b"newer"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "m", "m.lock"]


def test_a_file_that_was_changed_on_disk_is_fetched_again(web: Any, tmp_path: Path) -> None:
    uri = web.serve("/model.onnx", b"whole", ETag='"v1"')
    fetch(uri, tmp_path / "m")
    (tmp_path / "m/model.onnx").write_bytes(b"who")
    assert not fetch_model(uri, tmp_path / "m").cached
    assert (tmp_path / "m/model.onnx").read_bytes() == b"whole"


def test_a_server_without_ranges_etags_or_sizes(web: Any, tmp_path: Path) -> None:
    def chunked(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")

    web.routes["/model.bin"] = chunked
    fetch(f"{web.address}/model.bin", tmp_path / "m")
    assert (tmp_path / "m/model.bin").read_bytes() == b"hello world"
    assert not fetch_model(f"{web.address}/model.bin", tmp_path / "m").cached, "nothing tells versions apart"
    pinned = f"{web.address}/model.bin#sha256={hashlib.sha256(b'hello world').hexdigest()}"
    fetch(pinned, tmp_path / "p")
    assert fetch_model(pinned, tmp_path / "p").cached


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": 'W/"v1"'}, {"ETag": 'W/"v2"'}),
        ({"ETag": '"v1"'}, {"ETag": '"v2"'}),
        ({"Last_Modified": "Sun, 01 Nov 2026 10:00:00 GMT"}, {"Last_Modified": "Sun, 01 Nov 2026 10:00:01 GMT"}),
        ({"ETag": 'W/"v1"'}, {}),
    ],
)
def test_pieces_of_two_versions_are_not_put_together(
    web: Any, tmp_path: Path, before: dict[str, str], after: dict[str, str]
) -> None:
    uri = web.serve("/model.bin", BIG, **before)
    first = web.routes["/model.bin"]
    web.serve("/model.bin", BIG[::-1], **after)
    second, count = web.routes["/model.bin"], len(web.asked)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (first if len(web.asked) - count <= 2 else second)(handler)

    web.routes["/model.bin"] = answer
    error = failing(uri, tmp_path / "m")
    assert (error.reason, "replaced during the download" in error.message) == (Reason.CORRUPT_DOWNLOAD, True)
    assert not (tmp_path / "m").exists()
    fetch(uri, tmp_path / "m")
    assert (tmp_path / "m/model.bin").read_bytes() == BIG[::-1]


def test_a_file_that_grows_during_the_download(web: Any, tmp_path: Path) -> None:
    uri = web.serve("/model.bin", BIG, ETag='W/"v1"')
    first = web.routes["/model.bin"]
    web.serve("/model.bin", BIG + b"more", ETag='W/"v1"')
    second = web.routes["/model.bin"]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (first if len(web.asked) == 1 else second)(handler)

    web.routes["/model.bin"] = answer
    assert "replaced during the download" in failing(uri, tmp_path / "m").message


def test_a_file_that_nothing_tells_the_version_of_comes_as_one(web: Any, tmp_path: Path) -> None:
    uri = web.serve("/model.bin", BIG)
    fetch(uri, tmp_path / "m")
    assert [asked[1] for asked in web.asked] == ["bytes=0-0", None]
    # Nor is it gone on with: it may be another by now.
    whole = packed("model.onnx")
    failing(web.serve("/m.tar.gz", b"x" * len(whole)), tmp_path / "n")
    fetch(web.serve("/m.tar.gz", whole), tmp_path / "n")
    assert (tmp_path / "n/model.onnx").exists()


def test_an_empty_file(web: Any, tmp_path: Path) -> None:
    fetch(web.serve("/empty.bin", b""), tmp_path / "m")
    assert (tmp_path / "m/empty.bin").read_bytes() == b""


def test_a_body_that_breaks_off_is_taken_up_where_it_stopped(web: Any, tmp_path: Path) -> None:
    whole = web.serve("/model.bin", BIG, ETag='"v1"')
    proper, broken = web.routes["/model.bin"], []

    def breaks_once(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers["Range"] == "bytes=0-8388607" and not broken:
            broken.append(True)
            handler.send_response(206)
            handler.send_header("Content-Length", "8388608")
            handler.send_header("Content-Range", f"bytes 0-8388607/{len(BIG)}")
            handler.send_header("ETag", '"v1"')
            handler.end_headers()
            handler.wfile.write(BIG[: 4 * 1024 * 1024])
            handler.close_connection = True
            return
        proper(handler)

    web.routes["/model.bin"] = breaks_once
    fetch(whole, tmp_path / "m")
    assert (tmp_path / "m/model.bin").read_bytes() == BIG
    # TLS records that were not full when the connection ended may have to come again.
    again = [int(asked[1].removeprefix("bytes=").split("-")[0]) for asked in web.asked if asked[1].endswith("-8388607")]
    assert again[0] == 0
    assert again[1] > 3 * 1024 * 1024


def test_a_body_that_always_breaks_off(web: Any, tmp_path: Path) -> None:
    def breaks(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"short")
        handler.close_connection = True

    web.routes["/model.bin"] = breaks
    error = failing(f"{web.address}/model.bin", tmp_path / "m")
    assert error.reason is Reason.CORRUPT_DOWNLOAD
    assert "breaks off" in error.message
    assert not (tmp_path / "m").exists()


def test_what_a_crashed_machine_left_is_noticed_and_fetched_anew(web: Any, tmp_path: Path) -> None:
    uri = web.serve("/model.bin", BIG, ETag='"v1"')
    pinned = f"{uri}#sha256={hashlib.sha256(BIG).hexdigest()}"
    proper, journal = web.routes["/model.bin"], tmp_path / "m.partial/journal"

    def refuses_the_end(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Range", "").startswith("bytes=16777216-"):
            deadline_s = time.monotonic() + 60
            while journal.read_text().count('"piece"') < 2 and time.monotonic() < deadline_s:
                time.sleep(0.02)
            handler.send_response(403)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        else:
            proper(handler)

    web.routes["/model.bin"] = refuses_the_end
    assert failing(pinned, tmp_path / "m").reason is Reason.ACCESS_DENIED
    # The journal reached the disk, the bytes didn't.
    (tmp_path / "m.partial/tree/model.bin").write_bytes(bytes(len(BIG)))
    web.routes["/model.bin"] = proper
    assert failing(pinned, tmp_path / "m").reason is Reason.CORRUPT_DOWNLOAD
    assert not (tmp_path / "m").exists()
    fetch(pinned, tmp_path / "m")
    assert (tmp_path / "m/model.bin").read_bytes() == BIG


def test_a_wrong_sha256(web: Any, tmp_path: Path) -> None:
    uri = web.serve("/model.bin", b"evil", ETag='"v1"')
    error = failing(f"{uri}#sha256={'0' * 64}", tmp_path / "m")
    assert error.reason is Reason.CORRUPT_DOWNLOAD
    assert "0" * 64 in error.message
    assert not (tmp_path / "m").exists()
    sha256 = hashlib.sha256(b"evil").hexdigest()
    assert fetch(f"{uri}#sha256={sha256}", tmp_path / "m") == tmp_path / "m", "wrong bytes are no obstacle later"


@pytest.mark.parametrize("header", ["Digest", "Repr_Digest"])
def test_the_servers_own_digest_is_checked(web: Any, tmp_path: Path, header: str) -> None:
    def digest(content: bytes) -> dict[str, str]:
        encoded = base64.b64encode(hashlib.sha256(content).digest()).decode()
        return {header: f"sha-256=:{encoded}:" if header == "Repr_Digest" else f"SHA-256={encoded}"}

    fetch(web.serve("/good.bin", b"good", **digest(b"good")), tmp_path / "good")
    error = failing(web.serve("/bad.bin", b"bad", **digest(b"good")), tmp_path / "bad")
    assert error.reason is Reason.CORRUPT_DOWNLOAD


def redirect(to: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_redirects(web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.serve("/real.bin", b"real")
    web.routes["/latest.bin"] = redirect("/real.bin")
    fetch(f"{web.address}/latest.bin", tmp_path / "m")
    assert (tmp_path / "m/latest.bin").read_bytes() == b"real"
    web.routes["/loop.bin"] = redirect("/loop.bin")
    error = failing(f"{web.address}/loop.bin", tmp_path / "l")
    assert (error.reason, "redirects more than 5 times" in error.message) == (Reason.SERVER_ERROR, True)
    web.routes["/plain.bin"] = redirect("http://localhost:1/model?signature=secret")
    error = failing(f"{web.address}/plain.bin", tmp_path / "l")
    assert error.reason is Reason.UNSUPPORTED_URI
    assert "secret" not in error.message


def test_the_token_is_sent_to_its_own_host_only(web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_TOKEN", "t0ken")
    uri = web.serve("/model.bin", b"x")
    fetch(uri, tmp_path / "m")
    assert set(web.authorizations) == {"Bearer t0ken"}
    web.authorizations.clear()
    web.routes["/away.bin"] = redirect(uri.replace("localhost", "127.0.0.1"))
    error = failing(f"{web.address}/away.bin", tmp_path / "a")
    assert error.reason is Reason.ENDPOINT_UNREACHABLE, "the certificate is for localhost alone"
    assert "t0ken" not in str(error)


@pytest.mark.parametrize(
    ("status", "token", "reason"),
    [
        (401, "", Reason.CREDENTIALS_MISSING),
        (401, "old", Reason.CREDENTIALS_EXPIRED),
        (403, "low", Reason.ACCESS_DENIED),
        (404, "", Reason.NOT_FOUND),
        (410, "", Reason.NOT_FOUND),
        (418, "", Reason.SERVER_ERROR),
        (503, "", Reason.SERVER_ERROR),
    ],
)
def test_statuses(  # noqa: PLR0913, PLR0917 (one argument per fixture and parameter)
    web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, token: str, reason: Reason
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    monkeypatch.setenv("HTTPS_TOKEN", token)
    web.routes["/model.bin"] = answer
    error = failing(f"{web.address}/model.bin?X-Signature=hush", tmp_path / "m")
    assert error.reason is reason
    assert "hush" not in str(error)
    assert f"{web.address}/model.bin" in error.message


def test_a_server_that_is_busy_for_a_moment(web: Any, tmp_path: Path) -> None:
    uri = web.serve("/model.bin", b"x")
    proper, asked = web.routes["/model.bin"], []

    def busy_twice(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        if len(asked) <= 2:
            handler.send_response(503)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        else:
            proper(handler)

    web.routes["/model.bin"] = busy_twice
    fetch(uri, tmp_path / "m")
    assert (tmp_path / "m/model.bin").read_bytes() == b"x"


def test_unreachable_untrusted_and_impossible(web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing("https://localhost:1/model.bin", tmp_path / "m").reason is Reason.ENDPOINT_UNREACHABLE
    uri = web.serve("/model.bin", b"x")
    monkeypatch.delenv("SSL_CERT_FILE")
    error = failing(uri, tmp_path / "m")
    assert error.reason is Reason.ENDPOINT_UNREACHABLE
    assert "SSL_CERT_FILE" in error.message
    for wrong in ("https://host/", "https://host", f"{uri}#md5=00", "http://host/x", "ftp://b/x", "nonsense"):
        assert failing(wrong, tmp_path / "m").reason is Reason.UNSUPPORTED_URI, wrong


def packed(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()


def test_an_archive_is_unpacked(web: Any, tmp_path: Path) -> None:
    uri = web.serve("/m.tar.gz", packed("config.pbtxt", "1/model.onnx"), ETag='"v1"')
    fetch(uri, tmp_path / "m")
    assert (tmp_path / "m/1/model.onnx").read_bytes() == b"1/model.onnx"
    assert not list(tmp_path.rglob("*.gz"))
    assert fetch_model(uri, tmp_path / "m").cached
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1/model.onnx", "zipped")
    fetch(web.serve("/m.zip", buffer.getvalue()), tmp_path / "z")
    assert (tmp_path / "z/1/model.onnx").read_bytes() == b"zipped"


def test_a_login_page_in_place_of_an_archive(web: Any, tmp_path: Path) -> None:
    error = failing(web.serve("/m.tar.gz", b"<!DOCTYPE html><title>Log in</title>"), tmp_path / "m")
    assert error.reason is Reason.CORRUPT_DOWNLOAD
    assert "HTTPS_TOKEN" in error.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(web: Any, tmp_path: Path) -> None:
    assert failing(web.serve("/model.bin", b"x"), Path("/proc/m")).reason is Reason.NOT_WRITABLE
