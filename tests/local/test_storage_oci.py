"""oci:// against the registry of the distribution project, with TLS and a password."""

import base64
import hashlib
import io
import json
import random
import ssl
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from forebay.serving import storage
from forebay.serving.storage import Reason, StorageError
from forebay.serving.storage.checksums import Arrived
from forebay.serving.storage.oci import OciSource
from tests.local.storage_servers import free_port, running
from tests.programs import REGISTRY, ensure_go_program
from tests.unit.serving.storage.conftest import Web, authority, send, web  # noqa: F401  (fixtures)

BIG = random.Random(6).randbytes(20 * 1024 * 1024 + 5)
CONFIG = b'name: "digits"'
# s3cret, by bcrypt, as htpasswd writes it.
HTPASSWD = "reader:$2b$04$ozDb1XjovD98.fxCbvQ2Lejijj79EDSTgivxb0Thk6n9uqrr7t3mK\n"
LOGIN = base64.b64encode(b"reader:s3cret").decode()
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TITLE = "org.opencontainers.image.title"


class Pushed:
    """A registry that runs, and a client that pushes to it."""

    def __init__(self, host: str, client: httpx.Client) -> None:
        self.host, self._client = host, client

    def blob(self, content: bytes, kind: str, **annotations: str) -> dict[str, Any]:
        """Push a blob, and answer what a manifest says of it."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        place = self._client.post("/v2/models/digits/blobs/uploads/").headers["location"]
        self._client.put(f"{place}&digest={digest}", content=content).raise_for_status()
        return {"mediaType": kind, "digest": digest, "size": len(content), "annotations": annotations}

    def manifest(self, tag: str, *layers: dict[str, Any], kind: str = MANIFEST) -> str:
        """Push a manifest, and answer its digest."""
        content: dict[str, Any] = {"schemaVersion": 2, "mediaType": kind}
        if kind == MANIFEST:
            content |= {"config": self.blob(b"{}", "application/vnd.oci.empty.v1+json"), "layers": layers}
        else:
            content |= {"manifests": layers}
        body = json.dumps(content).encode()
        answer = self._client.put(f"/v2/models/digits/manifests/{tag}", content=body, headers={"Content-Type": kind})
        answer.raise_for_status()
        return str(answer.headers["docker-content-digest"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, ca = tmp_path_factory.mktemp("registry"), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    made = ca.issue_cert("localhost")
    made.private_key_pem.write_to_path(folder / "key.pem")
    for number, each in enumerate(made.cert_chain_pems):
        each.write_to_path(folder / "cert.pem", append=number > 0)
    return folder


@pytest.fixture(scope="module")
def pushed(certificates: Path) -> Iterator[Pushed]:
    """The registry, with the artifact models/digits in several versions."""
    port = free_port()
    (certificates / "htpasswd").write_text(HTPASSWD)
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(certificates / "data")}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "tls": {"certificate": str(certificates / "cert.pem"), "key": str(certificates / "key.pem")},
        },
        "auth": {"htpasswd": {"realm": "models", "path": str(certificates / "htpasswd")}},
        "log": {"level": "error"},
    }
    (certificates / "config.yml").write_text(json.dumps(config))
    command = [str(ensure_go_program(REGISTRY)), "serve", str(certificates / "config.yml")]
    with running(command, port, certificates, OTEL_TRACES_EXPORTER="none"):
        trusted = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        with httpx.Client(
            base_url=f"https://localhost:{port}", verify=trusted, auth=("reader", "s3cret"), timeout=30
        ) as client:
            yield fill(Pushed(f"localhost:{port}", client))


def fill(pushed: Pushed) -> Pushed:
    onnx = pushed.blob(BIG, "application/octet-stream", **{TITLE: "1/model.onnx"})
    text = pushed.blob(CONFIG, "text/plain", **{TITLE: "config.pbtxt"})
    pushed.manifest("v1", onnx, text)
    packed = pushed.blob(tar({"1/model.onnx": b"packed"}), "application/vnd.oci.image.layer.v1.tar+gzip")
    pushed.manifest("packed", packed, text)
    pushed.manifest("nameless", pushed.blob(b"x", "application/octet-stream"))
    pushed.manifest("hostile", pushed.blob(b"x", "text/plain", **{TITLE: "../../etc/passwd"}))
    leads_out = pushed.blob(tar({"../out": b"x"}), "application/vnd.oci.image.layer.v1.tar")
    pushed.manifest("leads-out", leads_out)
    other = pushed.blob(tar({"1": b"a file"}), "application/vnd.oci.image.layer.v1.tar")
    pushed.manifest("clash", packed, other)
    one = {"mediaType": MANIFEST, "digest": pushed.manifest("v2", text), "size": 500}
    pushed.manifest("index", one, kind="application/vnd.oci.image.index.v1+json")
    return pushed


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def address(pushed: Pushed, certificates: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {pushed.host: {"auth": LOGIN}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return f"oci://{pushed.host}/models/digits"


def fetch_model(uri: str, dest: Path) -> storage.Fetched:
    return storage.fetch_model(uri, dest, allow_loopback=True)


def failing(uri: str, dest: Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        fetch_model(uri, dest)
    assert "s3cret" not in str(caught.value)
    assert LOGIN not in str(caught.value)
    return caught.value


def test_files_arrive_and_are_not_fetched_again(address: str, pushed: Pushed, tmp_path: Path) -> None:
    fetched = fetch_model(f"{address}:v1", tmp_path / "m")
    assert (fetched.bytes, fetched.cached) == (len(BIG) + len(CONFIG), False)
    assert (tmp_path / "m/1/model.onnx").read_bytes() == BIG
    assert (tmp_path / "m/config.pbtxt").read_bytes() == CONFIG
    assert fetch_model(f"{address}:v1", tmp_path / "m").cached
    digest = pushed.manifest("again", pushed.blob(CONFIG, "text/plain", **{TITLE: "config.pbtxt"}))
    fetch_model(f"{address}@{digest}", tmp_path / "pinned")
    assert (tmp_path / "pinned/config.pbtxt").read_bytes() == CONFIG
    source = OciSource(f"{address}:v1", connections=1, allow_loopback=True)
    item = next(each for each in source.find().items if each.path == "1/model.onnx")
    assert b"".join(source.read(item, 100, 200)) == BIG[100:200]
    (tmp_path / "wrong").write_bytes(b"wrong")
    with pytest.raises(StorageError, match="digest"):
        source.check(item, Arrived(tmp_path / "wrong"))
    source.close()


def test_archives_are_unpacked_beside_files(address: str, tmp_path: Path) -> None:
    fetch_model(f"{address}:packed", tmp_path / "m")
    files = {str(path.relative_to(tmp_path / "m")) for path in (tmp_path / "m").rglob("[!.]*") if path.is_file()}
    assert files == {"1/model.onnx", "config.pbtxt"}
    assert (tmp_path / "m/1/model.onnx").read_bytes() == b"packed"
    assert fetch_model(f"{address}:packed", tmp_path / "m").cached


@pytest.mark.parametrize(
    ("tag", "reason", "said"),
    [
        ("nameless", Reason.BAD_LAYOUT, TITLE),
        ("hostile", Reason.BAD_LAYOUT, "can't be a file's path"),
        ("leads-out", Reason.UNSAFE_ARCHIVE, "leads out"),
        ("clash", Reason.UNSAFE_ARCHIVE, "twice"),
        ("index", Reason.BAD_LAYOUT, "@sha256:"),
        ("pakced", Reason.NOT_FOUND, "models/digits:packed?"),
    ],
)
def test_artifacts_that_are_no_model(address: str, tmp_path: Path, tag: str, reason: Reason, said: str) -> None:
    error = failing(f"{address}:{tag}", tmp_path / "m")
    assert (error.reason, said in error.message) == (reason, True), error
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "out").exists()


def test_credentials(address: str, pushed: Pushed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_AUTH_CONFIG")
    assert failing(f"{address}:v2", tmp_path / "m").reason is Reason.CREDENTIALS_MISSING
    (tmp_path / "docker").mkdir()
    entry = {"username": "reader", "password": "s3cret"}
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {f"https://{pushed.host}/v1/": entry}}))
    fetch_model(f"{address}:v2", tmp_path / "m")
    for wrong in (f'{{"auths": {{"{pushed.host}": {{"username": "reader", "password": "old"}}}}}}', "no json"):
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", wrong)
        error = failing(f"{address}:v1", tmp_path / "n")
        assert error.reason in (Reason.CREDENTIALS_EXPIRED, Reason.CREDENTIALS_MISSING)
    monkeypatch.delenv("DOCKER_AUTH_CONFIG")
    other = address.replace("models/digits", "models/nosuch")
    assert failing(f"{other}:v1", tmp_path / "n").reason is Reason.NOT_FOUND
    for uri in ("oci://host", "oci://host/a:b:c", "oci://host/a@md5:1"):
        assert failing(uri, tmp_path / "n").reason is Reason.UNSUPPORTED_URI
    with pytest.raises(StorageError, match="the pod itself"):
        storage.fetch(f"{address}:v1", tmp_path / "n")


def test_a_token_that_runs_out(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Registries of clouds give tokens for minutes, from another address."""
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "{}")
    content, tokens = b"weights", ["t1", "t2"]
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    layer = {"mediaType": "x", "digest": digest, "size": len(content), "annotations": {TITLE: "model.onnx"}}
    body = json.dumps({"layers": [layer]}).encode()
    asks = {"WWW-Authenticate": f'Bearer realm="{web.address}/token",service="s",scope="repository:a/b:pull"'}

    def guarded(good: tuple[str, ...], answer: bytes) -> Any:
        def handle(handler: BaseHTTPRequestHandler) -> None:
            known = handler.headers.get("Authorization") in [f"Bearer {each}" for each in good]
            send(handler, 200 if known else 401, answer if known else b"", {} if known else asks)

        return handle

    web.routes["/token"] = lambda handler: send(handler, 200, json.dumps({"token": tokens.pop(0)}).encode(), {})
    web.routes["/v2/a/b/manifests/latest"] = guarded(("t1", "t2"), body)
    web.routes[f"/v2/a/b/blobs/{digest}"] = guarded(("t2",), content)
    fetch_model(f"oci://{web.address.removeprefix('https://')}/a/b", tmp_path / "m")
    assert (tmp_path / "m/model.onnx").read_bytes() == content
    assert "/token?service=s&scope=repository%3Aa%2Fb%3Apull" in [path for path, _ in web.asked]


def test_a_registry_that_names_metadata_for_its_tokens(
    web: Web,  # noqa: F811
    tmp_path: Path,
) -> None:
    asks = {"WWW-Authenticate": 'Bearer realm="https://169.254.169.254/token"'}
    web.routes["*"] = lambda handler: send(handler, 401, b"", asks)
    error = failing(f"oci://{web.address.removeprefix('https://')}/a/b:v1", tmp_path / "m")
    assert (error.reason, "169.254.169.254" in error.message) == (Reason.UNSUPPORTED_URI, True)
