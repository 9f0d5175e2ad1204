"""gs:// against fake-gcs-server, and against a server that gives Google's errors."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from forebay.serving.storage import Reason, StorageError, fetch, fetch_model, gs
from forebay.serving.storage.checksums import Arrived
from tests.local.storage_servers import free_port, running
from tests.programs import FAKE_GCS, ensure_go_program
from tests.unit.serving.storage.conftest import Web, plain_web, send  # noqa: F401  (fixtures)

BIG = random.Random(3).randbytes(20 * 1024 * 1024 + 11)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a bucket `models`."""
    folder, port = tmp_path_factory.mktemp("gcs"), free_port()
    address = f"http://127.0.0.1:{port}"
    options = ["-backend=memory", "-scheme=http", "-host=127.0.0.1", f"-port={port}", f"-public-host=127.0.0.1:{port}"]
    with running([str(ensure_go_program(FAKE_GCS)), *options, "-log-level=warn"], port, folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", address)
            client = storage.Client(project="p", credentials=AnonymousCredentials())
            bucket = client.create_bucket("models")
            bucket.blob("digits/3/config.pbtxt").upload_from_string(b'name: "digits"')
            bucket.blob("digits/3/1/model.onnx").upload_from_string(BIG)
            bucket.blob("digits/3/2/").upload_from_string(b"")
            bucket.blob("digits/3/empty.txt").upload_from_string(b"")
        yield address


@pytest.fixture
def gcs(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS_JSON"):
        monkeypatch.delenv(name, raising=False)
    return server


def failing(uri: str, dest: Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        fetch(uri, dest)
    return caught.value


@pytest.mark.usefixtures("gcs")
def test_a_folder_arrives_and_is_not_fetched_again(tmp_path: Path) -> None:
    fetched = fetch_model("gs://models/digits/3", tmp_path / "m")
    assert (fetched.bytes, fetched.cached) == (len(BIG) + 14, False)
    assert (tmp_path / "m/1/model.onnx").read_bytes() == BIG
    assert (tmp_path / "m/empty.txt").read_bytes() == b""
    assert (tmp_path / "m/2").is_dir()
    assert fetch_model("gs://models/digits/3/", tmp_path / "m").cached
    fetch("gs://models/digits/3/1/model.onnx", tmp_path / "one")
    assert [path.name for path in (tmp_path / "one").glob("[!.]*")] == ["model.onnx"]


@pytest.mark.usefixtures("gcs")
def test_pieces_are_ranges_of_the_version_that_was_listed(tmp_path: Path) -> None:
    source = gs.GsSource("gs://models/digits/3/1/model.onnx", connections=2)
    (item,) = source.find().items
    assert b"".join(source.read(item, 100, 200)) == BIG[100:200]
    (tmp_path / "f").write_bytes(BIG)
    source.check(item, Arrived(tmp_path / "f"))
    (tmp_path / "f").write_bytes(BIG[:-1] + b"?")
    with pytest.raises(StorageError, match="don't match the object's CRC32C"):
        source.check(item, Arrived(tmp_path / "f"))
    source.close()


@pytest.mark.usefixtures("gcs")
def test_wrong_names(tmp_path: Path) -> None:
    error = failing("gs://models/digit/3", tmp_path / "m")
    assert (error.reason, "did you mean gs://models/digits/3?" in error.message) == (Reason.NOT_FOUND, True)
    assert failing("gs://nosuch/digits", tmp_path / "m").reason is Reason.BUCKET_NOT_FOUND
    assert failing("gs:///digits", tmp_path / "m").reason is Reason.UNSUPPORTED_URI


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (401, "Anonymous caller does not have storage.objects.list access", Reason.CREDENTIALS_MISSING),
        (403, "denied", Reason.CREDENTIALS_MISSING),
        (404, "The specified bucket does not exist.", Reason.BUCKET_NOT_FOUND),
        (418, "teapot", Reason.SERVER_ERROR),
    ],
)
def test_errors_without_credentials(  # noqa: PLR0913, PLR0917 (one argument per fixture and parameter)
    plain_web: Web,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    said: str,
    reason: Reason,
) -> None:
    body = json.dumps({"error": {"code": status, "message": said}}).encode()
    plain_web.routes["*"] = lambda handler: send(handler, status, body, {"Content-Type": "application/json"})
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", plain_web.address)
    assert failing("gs://models/digits", tmp_path / "m").reason is reason


def service_account(token_uri: str) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "a@b.iam", "token_uri": token_uri, "project_id": "p"}
    return json.dumps({**account, "private_key": key.decode(), "private_key_id": "1", "client_id": "1"})


def test_a_service_account(plain_web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Its file, or its text: the token that it gets is sent; a key that was deleted is told apart."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", plain_web.address)
    text = service_account(f"{plain_web.address}/token")
    granted = json.dumps({"access_token": "t0ken", "expires_in": 3600, "token_type": "Bearer"}).encode()
    denied = json.dumps({"error": {"code": 403, "message": "a@b.iam has no access"}}).encode()
    as_json = {"Content-Type": "application/json"}
    plain_web.routes["/token"] = lambda handler: send(handler, 200, granted, as_json)
    plain_web.routes["*"] = lambda handler: send(handler, 403, denied, as_json)
    (tmp_path / "key.json").write_text(text)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    error = failing("gs://models/digits", tmp_path / "m")
    assert (error.reason, "roles/storage.objectViewer" in error.message) == (Reason.ACCESS_DENIED, True)
    assert "Bearer t0ken" in plain_web.authorizations
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_JSON", text)
    assert failing("gs://models/digits", tmp_path / "m").reason is Reason.ACCESS_DENIED
    gone = json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}).encode()
    plain_web.routes["/token"] = lambda handler: send(handler, 400, gone, as_json)
    error = failing("gs://models/digits", tmp_path / "m")
    assert error.reason is Reason.CREDENTIALS_EXPIRED
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_JSON", "{}")
    assert failing("gs://models/digits", tmp_path / "m").reason is Reason.CREDENTIALS_MISSING
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS_JSON")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    error = failing("gs://models/digits", tmp_path / "m")
    assert (error.reason, "private_key" in error.message) == (Reason.CREDENTIALS_MISSING, False)


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gs, "RETRY_S", 1)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    assert failing("gs://models/digits", tmp_path / "m").reason is Reason.ENDPOINT_UNREACHABLE
