"""A bucket of somebody who means harm: each attack goes through the storage initializer as pods run it."""

import base64
import contextlib
import hashlib
import io
import itertools
import json
import subprocess
import sys
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from forebay.serving.storage import Reason, StorageError, prefix, s3_transport, workers
from forebay.serving.storage import fetch as storage_fetch
from tests.local.test_storage import environment
from tests.unit.serving.storage.conftest import Web, authority, plain_web, s3, send, web  # noqa: F401  (fixtures)

MIB = 1024 * 1024
LIMIT_S = 120


def listing(*files: tuple[str, bytes], end: str = "<IsTruncated>false</IsTruncated>", **fields: str) -> bytes:
    """A page of a bucket; keys are encoded as boto3 asks for it."""
    extra = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    entries = "".join(
        f"<Contents><Key>{quote(f'digits/{key}', safe='/%')}</Key><Size>{len(content)}</Size>"
        f"<ETag>&quot;{hashlib.md5(content, usedforsecurity=False).hexdigest()}&quot;</ETag>{extra}</Contents>"
        for key, content in files
    )
    return f"<ListBucketResult><EncodingType>url</EncodingType>{end}{entries}</ListBucketResult>".encode()


def serve(s3: Web, page: bytes, body: bytes = b"hello", **headers: str) -> None:  # noqa: F811
    """Be a bucket whose every object has this body."""
    s3.routes["/models"] = lambda handler: send(handler, 200, page, {})
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    s3.routes["*"] = lambda handler: send(handler, 200, body, extra)


def refused(to: Path, uri: str = "s3://models/digits") -> StorageError:
    with pytest.raises(StorageError) as caught:
        storage_fetch(uri, to)
    assert not to.exists()
    assert not (to.parent / "escaped").exists()
    return caught.value


@contextlib.contextmanager
def released() -> Iterator[threading.Event]:
    """An event on which a server may wait for as long as the test runs."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


@pytest.mark.parametrize(
    "key",
    [
        "../escaped",
        "a/../../escaped",
        "/escaped",
        "a//b",
        "a%00b",
        "a%0A0000  1/model.onnx",
        "a%1B[2J",
        "a\\b",
        "x" * 256,
        "/".join(["x" * 100] * 30),
        "./a",
    ],
)
def test_keys_that_are_no_paths(s3: Web, tmp_path: Path, key: str) -> None:  # noqa: F811
    serve(s3, listing((key, b"hello")))
    error = refused(tmp_path / "m")
    assert (error.reason, "rename or delete it" in error.message) == (Reason.BAD_LAYOUT, True)
    assert "\x1b" not in error.message


@pytest.mark.parametrize("keys", [("a", "a/b"), ("a/b/c", "a/b"), ("a/", "a"), ("a", "a/b/")])
def test_one_name_for_a_file_and_a_folder(s3: Web, tmp_path: Path, keys: tuple[str, str]) -> None:  # noqa: F811
    serve(s3, listing(*((key, b"hello") for key in keys)))
    assert "can't be a file and a folder" in refused(tmp_path / "m").message


def test_a_name_that_is_listed_twice(s3: Web, tmp_path: Path) -> None:  # noqa: F811
    serve(s3, listing(("a", b"hello"), ("a", b"world")))
    assert "lists one name twice" in refused(tmp_path / "m").message


def test_names_that_differ_by_case_or_notation_stay_apart(s3: Web, tmp_path: Path) -> None:  # noqa: F811
    names = ("Model", "model", "\u00e9", "e\u0301")
    serve(s3, listing(*((name, b"hello") for name in names)))
    storage_fetch("s3://models/digits", tmp_path / "m")
    assert {path.name for path in (tmp_path / "m").iterdir()} >= set(names)


def test_names_of_our_own(s3: Web, tmp_path: Path) -> None:  # noqa: F811
    """A bucket can't tell us what we checked before."""
    forged = json.dumps({"source": "", "files": {}, "digest": "sha256:forged"}).encode()
    serve(s3, listing((".forebay.json", forged)), forged)
    storage_fetch("s3://models/digits", tmp_path / "m")
    assert json.loads((tmp_path / "m/.forebay.json").read_text())["digest"] == ""


@pytest.mark.parametrize("body", [b"hell", b"hello, world", b""])
def test_a_body_of_another_size_than_was_listed(s3: Web, tmp_path: Path, body: bytes) -> None:  # noqa: F811
    serve(s3, listing(("a", b"hello")), body)
    assert refused(tmp_path / "m").reason is Reason.CORRUPT_DOWNLOAD


@pytest.mark.parametrize("path", ["s3", "https"])
def test_a_body_without_an_end(s3: Web, web: Web, tmp_path: Path, path: str) -> None:  # noqa: F811
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if handler.headers.get("Range") == "bytes=0-0":
            handler.send_header("Content-Length", "5")
            handler.end_headers()
            handler.wfile.write(b"hello")
            return
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(bytes(64 * 1024))

    serve(s3, listing(("a", b"hello")))
    s3.routes["*"] = web.routes["/model.bin"] = endless
    uri = "s3://models/digits" if path == "s3" else f"{web.address}/model.bin"
    with pytest.raises(StorageError) as caught:
        storage_fetch(uri, tmp_path / "m", allow_loopback=True)
    error = caught.value
    assert (error.reason, "sends more" in error.message) == (Reason.CORRUPT_DOWNLOAD, True)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.bin")) <= 5


def test_an_object_that_becomes_another_one(s3: Web, tmp_path: Path) -> None:  # noqa: F811
    serve(s3, listing(("a", b"hello")), ETag='"0000"')
    assert "replaced during the download" in refused(tmp_path / "m").message


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
def test_a_wrong_checksum(s3: Web, tmp_path: Path, algorithm: str) -> None:  # noqa: F811
    page = listing(("a", b"hello"), ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
    right = {"CRC32": zlib.crc32(b"hello").to_bytes(4, "big"), "SHA256": hashlib.sha256(b"hello").digest()}[algorithm]
    header = f"x_amz_checksum_{algorithm.lower()}"
    serve(s3, page, b"hellO", **{header: base64.b64encode(right).decode()})
    assert refused(tmp_path / "m").reason is Reason.CORRUPT_DOWNLOAD
    serve(s3, page, b"hello", **{header: base64.b64encode(right).decode()})
    storage_fetch("s3://models/digits", tmp_path / "m")


METADATA = [
    "169.254.169.254",
    "2852039166",
    "0xa9.254.0251.254",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "metadata.google.internal",
    "127.0.0.1",
    "[::1]",
]


@pytest.mark.parametrize("host", METADATA)
def test_redirects_to_where_credentials_are(web: Web, tmp_path: Path, host: str) -> None:  # noqa: F811
    from forebay.serving.storage.https_client import HttpsClient  # noqa: PLC0415

    client = HttpsClient("https://models.example.com/m", connections=1, allow_loopback=False)
    with pytest.raises(StorageError) as caught, client.get(f"https://{host}/latest/meta-data", {}):
        pass
    assert caught.value.reason is Reason.UNSUPPORTED_URI
    to = {"Location": f"https://{host}/latest/meta-data", "Content-Length": "0"}
    web.routes["/m.bin"] = lambda handler: send(handler, 302, b"", to)
    if host not in ("127.0.0.1", "[::1]"):
        with pytest.raises(StorageError) as caught:
            storage_fetch(f"{web.address}/m.bin", tmp_path / "m", allow_loopback=True)
        assert caught.value.reason is Reason.UNSUPPORTED_URI


@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("path", ["/models", "*"])
def test_s3_is_not_followed_to_another_server(s3: Web, tmp_path: Path, status: int, path: str) -> None:  # noqa: F811
    serve(s3, listing(("a", b"hello")))
    to = {"Location": f"{s3.address}/canary"}
    s3.routes[path] = lambda handler: send(handler, status, b"", to)
    assert refused(tmp_path / "m").reason in (Reason.SERVER_ERROR, Reason.WRONG_REGION)
    assert not [asked for asked, _ in s3.asked if "canary" in asked]


@pytest.mark.parametrize("token", ["same", "other"])
def test_pages_without_an_end(
    s3: Web,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
) -> None:
    monkeypatch.setattr("forebay.serving.storage.s3.MOST_PAGES", 20)
    numbers = itertools.count()

    def page(handler: BaseHTTPRequestHandler) -> None:
        following = "again" if token == "same" else str(next(numbers))
        end = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{following}</NextContinuationToken>"
        send(handler, 200, listing(end=end), {})

    s3.routes["/models"] = page
    reason = refused(tmp_path / "m").reason
    assert reason is (Reason.SERVER_ERROR if token == "same" else Reason.BAD_LAYOUT)


def test_more_files_than_a_model_has(s3: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(prefix, "MOST_FILES", 3)
    serve(s3, listing(*((str(number), b"hello") for number in range(4))))
    error = refused(tmp_path / "m")
    assert (error.reason, "pack its files into an archive" in error.message) == (Reason.BAD_LAYOUT, True)


def test_a_listing_or_an_error_without_an_end(
    s3: Web,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3_transport, "MOST_BYTES", MIB)
    for status in (200, 403):
        s3.routes["*"] = lambda handler, status=status: send(handler, status, bytes(4 * MIB), {})
        error = refused(tmp_path / "m")
        assert (error.reason, "AWS_ENDPOINT_URL" in error.message) == (Reason.SERVER_ERROR, True)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [
        f'<!DOCTYPE x [<!ENTITY l0 "{"lol" * 100}">{LAUGHS}]><ListBucketResult><Name>&l11;</Name></ListBucketResult>',
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><ListBucketResult><Name>&e;</Name></ListBucketResult>',
        "<ListBucketResult><Contents>",
        "{}",
    ],
)
def test_xml_that_is_none_or_worse(s3: Web, tmp_path: Path, text: str) -> None:  # noqa: F811
    serve(s3, text.encode())
    error = refused(tmp_path / "m")
    assert (error.reason, "root:" in error.message) == (Reason.SERVER_ERROR, False)


def drip(handler: BaseHTTPRequestHandler, until: threading.Event) -> None:
    """Send a byte now and then."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(MIB))
    handler.end_headers()
    with contextlib.suppress(OSError):
        while not until.wait(0.05):
            handler.wfile.write(b"x")
            handler.wfile.flush()


@pytest.mark.parametrize("path", ["/models", "*"])
def test_a_server_that_drips(
    s3: Web,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    monkeypatch.setattr(workers, "STALLED_S", 2.0)
    monkeypatch.setattr(s3_transport, "LONGEST_S", 2.0)
    serve(s3, listing(("a", bytes(MIB))))
    with released() as until:
        s3.routes[path] = lambda handler: drip(handler, until)
        assert refused(tmp_path / "m").reason in (Reason.ENDPOINT_UNREACHABLE, Reason.SERVER_ERROR)


# Of the process itself: what is told of a child counts what its parent had before exec.
TELLING = """
import re, sys
from forebay.serving.storage.__main__ import main
main(sys.argv[1:])
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024)
"""


def test_memory_stays_bounded_whatever_is_listed(s3: Web, tmp_path: Path) -> None:  # noqa: F811
    """As many files as are let through, in a process that may not have more than a container's share."""
    entry = listing(*((f"{'x' * 100}/{number}", b"hello") for number in range(1000)))
    numbers = itertools.count()

    def page(handler: BaseHTTPRequestHandler) -> None:
        following = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{next(numbers)}</NextContinuationToken>"
        send(handler, 200, entry.replace(b"<IsTruncated>false</IsTruncated>", following.encode()), {})

    s3.routes["/models"] = page
    command = [sys.executable, "-c", TELLING, "--uri=s3://models/digits", f"--to={tmp_path}/m"]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment(s3.address), timeout=LIMIT_S, check=True)
    said, most = done.stdout.splitlines()[-2:]
    assert json.loads(said)["reason"] == "BadLayout"
    assert int(most) < 256 * MIB


def bomb() -> bytes:
    return tar(("zeros", bytes(80 * MIB)))


def tar(*files: tuple[str, bytes], **special: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if special:
            info = tarfile.TarInfo("special")
            for name, value in special.items():
                setattr(info, name, value)
            archive.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        lambda: tar(("../escaped", b"x")),
        lambda: tar(("/tmp/escaped", b"x")),
        lambda: tar(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        lambda: tar(type=tarfile.SYMTYPE, linkname="../../../etc/passwd"),
        lambda: tar(type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        lambda: tar(type=tarfile.CHRTYPE),
        lambda: tar(type=tarfile.FIFOTYPE),
        bomb,
        lambda: tar(*((str(number), b"") for number in range(20_001))),
    ],
)
def test_archives_that_mean_harm(web: Web, tmp_path: Path, make: Callable[[], bytes]) -> None:  # noqa: F811
    uri = web.serve("/m.tar.gz", make(), ETag='"1"')
    with pytest.raises(StorageError) as caught:
        storage_fetch(uri, tmp_path / "m", allow_loopback=True)
    assert caught.value.reason is Reason.UNSAFE_ARCHIVE
    assert not (tmp_path / "m").exists()


def test_an_archive_in_an_archive_stays_one(web: Web, tmp_path: Path) -> None:  # noqa: F811
    uri = web.serve("/m.tar.gz", tar(("inner.tar.gz", bomb())), ETag='"1"')
    storage_fetch(uri, tmp_path / "m", allow_loopback=True)
    assert [path.name for path in (tmp_path / "m").glob("*")] != ["zeros"]
    assert (tmp_path / "m/inner.tar.gz").stat().st_size < MIB
