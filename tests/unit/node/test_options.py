"""What the agent is told, and what it lets others tell it."""

import argparse
import os

import pytest

from forebay.node.credentials import build_environment, check_endpoints
from forebay.node.options import parse_bytes
from forebay.serving.storage.errors import StorageError


@pytest.mark.parametrize(
    ("text", "size"), [("100Gi", 100 * 1024**3), ("1.5T", 1_500_000_000_000), ("5000", 5000), ("2k", 2000)]
)
def test_sizes_are_those_of_kubernetes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1Gi", "1 Gi", "ten"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write 100Gi"):
        parse_bytes(text)


def test_a_secret_says_who_one_is_and_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-agents-own")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    secret = {"AWS_ACCESS_KEY_ID": "A", "LD_PRELOAD": "/x.so", "AWS_CONFIG_FILE": "/x", "PATH": "/evil", "HOME": "/x"}
    made = build_environment(secret)
    assert made["AWS_ACCESS_KEY_ID"] == "A"
    assert made["PATH"] == os.environ["PATH"]
    assert made["HTTPS_PROXY"] == "http://proxy:1"
    assert not {"LD_PRELOAD", "AWS_CONFIG_FILE", "AWS_SECRET_ACCESS_KEY"} & made.keys()
    # Nor has anybody the node's own credentials.
    assert made["AWS_EC2_METADATA_DISABLED"] == "true"


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254", "http://[fe80::1]/", "http://2852039166/", "http://localhost:9000", "http://[::1]"],
)
def test_an_endpoint_leads_not_to_the_node(url: str) -> None:
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL of the credentials leads to"):
        check_endpoints({"AWS_ENDPOINT_URL": url}, allow_loopback=False)
    check_endpoints({"AWS_ENDPOINT_URL": "http://10.1.2.3:9000"}, allow_loopback=False)


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;blobendpoint=http://169.254.169.254/", "BlobEndpoint in"),
        ("AZURE_STORAGE_CONNECTION_STRING", "BlobEndpoint=https://a.test;BlobSecondaryEndpoint=127.0.0.1", "BlobSecon"),
        ("AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true", "UseDevelopmentStorage in"),
        ("GOOGLE_APPLICATION_CREDENTIALS_JSON", '{"token_uri": "http://metadata.google.internal/x"}', "token_uri in"),
    ],
)
def test_nor_does_one_within_other_credentials(name: str, text: str, where: str) -> None:
    with pytest.raises(StorageError, match=f"UnsupportedURI: {where}.* of the credentials leads to"):
        check_endpoints({name: text}, allow_loopback=False)


def test_nor_does_a_part_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"a.blob.evil.test": "169.254.169.254"}
    monkeypatch.setattr("socket.getaddrinfo", lambda host, *_, **__: [(2, 1, 6, "", (known[host], 0))])
    with pytest.raises(
        StorageError, match="EndpointSuffix in AZURE_STORAGE_CONNECTION_STRING of the credentials leads"
    ):
        check_endpoints(
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;EndpointSuffix=evil.test"}, allow_loopback=False
        )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("AZURE_STORAGE_CONNECTION_STRING", "BlobEndpoint=10.1.2.3:10000/a?b;SharedAccessSignature=sv=1&sig=x"),
        ("AZURE_STORAGE_CONNECTION_STRING", "no such thing"),
        ("GOOGLE_APPLICATION_CREDENTIALS_JSON", '{"token_uri": "https://10.1.2.3/token"}'),
        ("GOOGLE_APPLICATION_CREDENTIALS_JSON", "[]"),
        ("GOOGLE_APPLICATION_CREDENTIALS_JSON", "no such thing"),
        ("HF_ENDPOINT", ""),
    ],
)
def test_what_leads_nowhere_else_is_left_alone(name: str, text: str) -> None:
    check_endpoints({name: text}, allow_loopback=False)


@pytest.mark.parametrize("url", ["http://169.254.169.254\\@10.1.2.3", "http://a@10.1.2.3", "10.1.2.3", "file:///etc"])
def test_an_endpoint_is_read_in_one_way_only(url: str) -> None:
    with pytest.raises(
        StorageError, match="AWS_ENDPOINT_URL of the credentials is no server's address: write https://"
    ):
        check_endpoints({"AWS_ENDPOINT_URL": url}, allow_loopback=False)
