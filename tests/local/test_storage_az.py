"""az:// against Azurite, with every kind of credentials that it knows."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import (
    BlobBlock,
    BlobServiceClient,
    ContainerSasPermissions,
    ContentSettings,
    generate_container_sas,
)

from forebay.serving.storage import Reason, StorageError, az_account, fetch, fetch_model
from forebay.serving.storage.az import AzSource
from tests.local.relay import relaying
from tests.local.storage_servers import free_port, running
from tests.programs import ensure_azurite

BIG = random.Random(4).randbytes(20 * 1024 * 1024 + 11)
WEIGHTS = b"weights!" * 1_250_000
ACCOUNT = "devstoreaccount1"
# Azurite's own, published by Microsoft for tests.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an account with the containers `models` and, open to all, `public`."""
    folder, port = tmp_path_factory.mktemp("azurite"), free_port()
    address = f"http://127.0.0.1:{port}/{ACCOUNT}"
    options = [
        "--blobHost=127.0.0.1",
        f"--blobPort={port}",
        "--silent",
        "--skipApiVersionCheck",
        "--inMemoryPersistence",
    ]
    with running([str(ensure_azurite()), *options], port, folder):
        service = BlobServiceClient(address, credential={"account_name": ACCOUNT, "account_key": KEY})
        models = service.create_container("models")
        models.upload_blob("digits/3/config.pbtxt", b'name: "digits"')
        models.upload_blob("digits/3/1/model.onnx", BIG)
        models.upload_blob("digits/3/empty.txt", b"")
        # As tools upload what is large: such a blob has no MD5.
        blocks = models.get_blob_client("blocks/model.onnx")
        for number in range(0, len(WEIGHTS), 4_000_000):
            blocks.stage_block(f"{number:08}", WEIGHTS[number : number + 4_000_000])
        blocks.commit_block_list([BlobBlock(f"{number:08}") for number in range(0, len(WEIGHTS), 4_000_000)])
        wrong = ContentSettings(content_md5=bytearray(16))
        models.upload_blob("damaged/model.onnx", b"hello").set_http_headers(wrong)
        service.create_container("public", public_access="container").upload_blob("a/model.onnx", b"open")
        service.close()
        yield address


@pytest.fixture
def azurite(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("CONNECTION_STRING", "SAS_TOKEN", "ACCESS_KEY", "KEY"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
    monkeypatch.setenv("AZURE_STORAGE_SERVICE_ENDPOINT", server)
    return server


def failing(uri: str, dest: Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        fetch(uri, dest)
    assert KEY not in str(caught.value)
    return caught.value


def sas(*, hours: int, permission: str = "rl") -> str:
    now = datetime.now(UTC)
    return generate_container_sas(
        ACCOUNT,
        "models",
        account_key=KEY,
        permission=ContainerSasPermissions.from_string(permission),
        start=now - timedelta(days=2),
        expiry=now + timedelta(hours=hours),
    )


def test_a_folder_arrives_and_is_not_fetched_again(
    azurite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    uri = f"az://{ACCOUNT}/models/digits/3"
    fetched = fetch_model(uri, tmp_path / "m")
    assert (fetched.bytes, fetched.cached) == (len(BIG) + 14, False)
    assert (tmp_path / "m/1/model.onnx").read_bytes() == BIG
    assert (tmp_path / "m/empty.txt").read_bytes() == b""
    assert fetch_model(f"{uri}/", tmp_path / "m").cached
    fetch(f"{uri}/1/model.onnx", tmp_path / "one")
    assert (tmp_path / "one/model.onnx").read_bytes() == BIG
    source = AzSource(uri)
    (item,) = (each for each in source.find().items if each.path == "1/model.onnx")
    assert b"".join(source.read(item, 100, 200)) == BIG[100:200]
    source.close()
    assert azurite.endswith(ACCOUNT)


@pytest.mark.usefixtures("azurite")
def test_every_kind_of_credentials(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"az://{ACCOUNT}/models/digits/3/config.pbtxt"
    with monkeypatch.context() as patch:
        patch.setenv("AZURE_STORAGE_SAS_TOKEN", sas(hours=1))
        fetch(uri, tmp_path / "sas")
    with monkeypatch.context() as patch:
        endpoint = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={server};"
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", endpoint)
        fetch(uri, tmp_path / "string")
        error = failing("az://other/models/digits", tmp_path / "m")
        assert (error.reason, ACCOUNT in error.message) == (Reason.ACCESS_DENIED, True)
    fetch(f"az://{ACCOUNT}/public/a", tmp_path / "open")
    assert (tmp_path / "open/model.onnx").read_bytes() == b"open"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("AZURE_STORAGE_NOTHING", "", Reason.CREDENTIALS_MISSING),
        ("AZURE_STORAGE_KEY", "d3Jvbmc=", Reason.ACCESS_DENIED),
        ("AZURE_STORAGE_KEY", "not base64!", Reason.ACCESS_DENIED),
        ("AZURE_STORAGE_SAS_TOKEN", sas(hours=-1), Reason.CREDENTIALS_EXPIRED),
        ("AZURE_STORAGE_SAS_TOKEN", sas(hours=1, permission="r"), Reason.ACCESS_DENIED),
        ("AZURE_STORAGE_SAS_TOKEN", "sv=nonsense", Reason.ACCESS_DENIED),
        ("AZURE_STORAGE_CONNECTION_STRING", "nonsense", Reason.CREDENTIALS_MISSING),
    ],
)
@pytest.mark.usefixtures("azurite")
def test_wrong_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: Reason
) -> None:
    monkeypatch.setenv(name, value)
    error = failing(f"az://{ACCOUNT}/models/digits", tmp_path / "m")
    assert error.reason is reason, error


@pytest.mark.usefixtures("azurite")
def test_wrong_names_and_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCESS_KEY", KEY)
    error = failing(f"az://{ACCOUNT}/models/digit/3", tmp_path / "m")
    assert error.reason is Reason.NOT_FOUND
    assert f"did you mean az://{ACCOUNT}/models/digits/3?" in error.message
    assert failing(f"az://{ACCOUNT}/nosuch/digits", tmp_path / "m").reason is Reason.BUCKET_NOT_FOUND
    assert failing(f"az://{ACCOUNT}", tmp_path / "m").reason is Reason.UNSUPPORTED_URI
    error = failing(f"az://{ACCOUNT}/models/damaged", tmp_path / "m")
    assert (error.reason, "Content-MD5" in error.message) == (Reason.CORRUPT_DOWNLOAD, True)
    monkeypatch.setenv("AZURE_STORAGE_SERVICE_ENDPOINT", f"http://127.0.0.1:1/{ACCOUNT}")
    monkeypatch.setitem(az_account._OPTIONS, "retry_total", 0)
    assert failing(f"az://{ACCOUNT}/models/digits", tmp_path / "m").reason is Reason.ENDPOINT_UNREACHABLE


def test_a_blob_without_an_md5_is_compared_answer_by_answer(
    azurite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    uri = f"az://{ACCOUNT}/models/blocks"
    source = AzSource(uri)
    (item,) = source.find().items
    assert source.sums(item) == ()
    source.close()
    assert (fetch(uri, tmp_path / "m") / "model.onnx").read_bytes() == WEIGHTS
    for name in ("initial_backoff", "increment_base"):
        monkeypatch.setitem(az_account._OPTIONS, name, 0)
    with relaying(
        azurite.removesuffix(f"/{ACCOUNT}"), alter=lambda data: data.replace(b"weights!", b"Weights!")
    ) as relay:
        monkeypatch.setenv("AZURE_STORAGE_SERVICE_ENDPOINT", f"{relay.address}/{ACCOUNT}")
        error = failing(uri, tmp_path / "altered")
    assert (error.reason, "MD5" in error.message) == (Reason.CORRUPT_DOWNLOAD, True)
    assert not (tmp_path / "altered").exists()
