"""Roles of AWS by a pod's ServiceAccount: the agent's real process, and moto for S3 and STS."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tests.node.moto import ROLE, SESSION, build_token, read_claims, serve_moto
from tests.node.site import Node, await_state, eventually, read_state
from tests.node.tap import Tap

SUBJECT = "system:serviceaccount:default:digits"
ACCOUNTS = {"digits": {"eks.amazonaws.com/role-arn": ROLE}, "plain": {}}


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serve_moto(tmp_path_factory.mktemp("moto")) as port:
        yield port


@pytest.fixture
def apiserver(node: Node, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where ServiceAccounts are read, as options of the agent: no more of Kubernetes is asked for here."""
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("the-agents")
    trustme.CA().cert_pem.write_to_path(account / "ca.crt")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            folder, _, name = self.path.rpartition("/")
            known = folder == "/api/v1/namespaces/default/serviceaccounts" and name in ACCOUNTS
            allowed = self.headers["authorization"] == "Bearer the-agents"
            self.send_response(200 if known and allowed else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"metadata": {"name": name, "annotations": ACCOUNTS.get(name)}}).encode())

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield {"apiserver": f"http://127.0.0.1:{server.server_port}", "account": str(account)}
    finally:
        server.shutdown()
        server.server_close()


def publish(node: Node, name: str, account: str, secret: dict[str, str]) -> Path:
    tokens = {"sts.amazonaws.com": {"token": build_token(f"system:serviceaccount:default:{account}")}}
    about = {"csi.storage.k8s.io/serviceAccount.tokens": json.dumps(tokens)}
    about["csi.storage.k8s.io/serviceAccount.name"] = account
    return node.publish(name, "s3://roles/m", secret, **about)


def test_the_pods_role_reads_its_model(node: Node, moto: int, apiserver: dict[str, str]) -> None:
    tap = Tap(moto)
    with tap.open() as url:
        node.environment = {"AWS_ENDPOINT_URL_STS": url}
        node.start(**apiserver)
        store = {"AWS_ENDPOINT_URL_S3": url, "AWS_REGION": "us-east-1"}
        volume = publish(node, "pod", "digits", store)
        await_state(volume, "Cached")
        assert (volume / "files/weights.bin").read_bytes() == b"weights"
        claims = read_claims(tap)
        assert (claims["sub"], claims["role"]) == (SUBJECT, ROLE)
        assert tap.signers, "no request was signed"
        assert all(each.startswith(SESSION) for each in tap.signers)
        # No token is kept.
        (asked,) = (node.root / "volumes").glob("*/asked.json")
        assert "sts.amazonaws.com" not in asked.read_text()
        # Keys go first, as in a pod.
        tap.signers.clear()
        keys = {"AWS_ACCESS_KEY_ID": "AKIAKEYS", "AWS_SECRET_ACCESS_KEY": "b"}
        await_state(publish(node, "keys", "digits", {**store, **keys}), "Cached")
        assert tap.signers == {"AKIAKEYS"}
        # Without an annotation there is no role, and nobody in particular may list there, but not read.
        tap.signers.clear()
        assert await_state(publish(node, "plain", "plain", store), "Failed")["reason"] == "CredentialsMissing"
        assert tap.signers == set()


def test_a_server_that_does_not_answer(node: Node, apiserver: dict[str, str]) -> None:
    node.start(**{**apiserver, "apiserver": "http://127.0.0.1:9"})
    volume = publish(node, "pod", "digits", {})
    found = eventually(lambda: read_state(volume) if "reason" in read_state(volume) else None)
    assert found["reason"] == "EndpointUnreachable"
    assert "the role of the ServiceAccount digits can't be looked up" in found["message"]
