"""Addresses that would lead a download to what only its own pod can reach, each by the way that real ones take."""

import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from forebay.serving.storage import Reason, StorageError, fetch
from tests.unit.serving.storage.conftest import send

METADATA = (
    "169.254.169.254",
    "169.254.170.2",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "0xa9.254.0251.254",
    "169.254.43518",
    "169.254.169.254.",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "168.63.129.16",
    "metadata.google.internal",
    "METADATA.google.internal.",
)
LOOPBACK = (
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0.0.0.0",
    "0",
    "localhost",
    "[::1]",
    "[::]",
    "[::ffff:7f00:1]",
)
NOBODY = ("255.255.255.255", "224.0.0.1", "[ff02::1]", "0.1.2.3")


def refusal(uri: str, dest: Path, *, allow_loopback: bool = False) -> str:
    with pytest.raises(StorageError) as caught:
        fetch(uri, dest, allow_loopback=allow_loopback)
    assert caught.value.reason is Reason.UNSUPPORTED_URI, caught.value
    assert not dest.exists()
    return caught.value.message


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where a TCP connection was tried to."""
    tried: list[Any] = []
    connect = socket.create_connection

    def note(address: Any, *rest: Any, **options: Any) -> socket.socket:
        tried.append(address)
        return connect(address, *rest, **options)

    monkeypatch.setattr(socket, "create_connection", note)
    return tried


@pytest.mark.parametrize("host", METADATA)
def test_metadata_in_any_notation(host: str, tmp_path: Path, connects: list[Any]) -> None:
    message = refusal(f"https://{host}/latest/token", tmp_path / "m", allow_loopback=True)
    assert "credentials of this machine" in message or "no valid address" in message
    assert connects == []


@pytest.mark.parametrize("host", LOOPBACK)
def test_the_pod_itself(host: str, tmp_path: Path, connects: list[Any]) -> None:
    assert "is the pod itself" in refusal(f"https://{host}:9/model.onnx", tmp_path / "m")
    assert connects == []


@pytest.mark.parametrize("host", NOBODY)
def test_addresses_of_nobody(host: str, tmp_path: Path, connects: list[Any]) -> None:
    refusal(f"https://{host}/model.onnx", tmp_path / "m")
    assert connects == []


@pytest.mark.parametrize("host", METADATA[::3])
def test_a_redirect_to_metadata(web: Any, tmp_path: Path, host: str, connects: list[Any]) -> None:
    web.routes["/m.onnx"] = lambda handler: send(handler, 302, b"", {"Location": f"https://{host}/token?key=secret"})
    message = refusal(f"{web.address}/m.onnx", tmp_path / "m", allow_loopback=True)
    assert "secret" not in message
    assert len(connects) == 1, "to the server that redirects"


@pytest.mark.parametrize("bad", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "127.0.0.1"])
def test_a_name_of_such_an_address(
    bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connects: list[Any]
) -> None:
    family = socket.AF_INET6 if ":" in bad else socket.AF_INET
    # One good answer beside it doesn't help.
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 443)), (family, 1, 6, "", (bad, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    assert "leads to " in refusal("https://models.example.com/model.onnx", tmp_path / "m")
    assert connects == []


def test_a_name_that_is_answered_otherwise_the_second_time(
    web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the check hears a good address, the connection is made to another."""
    web.serve("/model.onnx", b"secret of the pod")
    port = int(web.address.rpartition(":")[2])
    asked: list[str] = []

    def answer(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        address = "10.1.2.3" if len(asked) % 2 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    message = refusal(f"https://models.example.com:{port}/model.onnx", tmp_path / "m")
    assert "127.0.0.1" in message
    assert len(asked) == 2
    assert web.asked == [], "a connection, and nothing sent"


def test_a_private_address_is_where_servers_of_the_cluster_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connects: list[Any]
) -> None:
    def refuse(*_: Any, **__: Any) -> socket.socket:
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("forebay.serving.storage.retry.FIRST_PAUSE_S", 0.001)
    for host in ("10.96.0.12", "192.168.1.1", "172.16.0.1", "[fd12::1]"):
        with pytest.raises(StorageError) as caught:
            fetch(f"https://{host}/model.onnx", tmp_path / "m")
        assert caught.value.reason is Reason.ENDPOINT_UNREACHABLE


def test_a_proxy_gets_no_such_address_either(web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tunnel(handler: BaseHTTPRequestHandler) -> None:
        pytest.fail(f"the proxy was asked for {handler.path}")

    web.routes["*"] = tunnel
    monkeypatch.setenv("HTTPS_PROXY", web.address)
    refusal("https://0xa9fea9fe/token", tmp_path / "m", allow_loopback=True)
    assert web.asked == []


@pytest.mark.parametrize(
    "uri",
    [
        "az://169.254.169.254?/models/digits",
        "az://127.0.0.1#/models/digits",
        "az://evil.example.com%2F/models/digits",
        "az://a@b/models/digits",
        "oci://169.254.169.254/models/digits:1",
        "oci://0xa9fea9fe/models/digits:1",
        "oci://[::ffff:a9fe:a9fe]/models/digits:1",
        "oci://user:secret@127.0.0.1/models/digits:1",
        "oci://127.0.0.1:5000/models/digits:1",
        "oci://models.example.com?/models/digits:1",
    ],
)
def test_other_schemes_lead_there_no_more_than_https(uri: str, tmp_path: Path, connects: list[Any]) -> None:
    assert "secret" not in refusal(uri, tmp_path / "m")
    assert connects == []
