"""s3:// with credentials that STS gives: moto's server is asked for real, by boto3 as it comes."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from forebay.serving.storage import Reason, StorageError, fetch
from forebay.serving.storage.s3 import S3Source
from tests.local.storage_servers import free_port, running
from tests.unit.serving.storage.conftest import Web, plain_web, s3, send  # noqa: F401  (fixtures)

ROLE = "arn:aws:iam::123456789012:role/models"
VARIABLES = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "ROLE_ARN", "WEB_IDENTITY_TOKEN_FILE")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that speaks S3 and STS, with a bucket `models`."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, tmp_path_factory.mktemp("moto")):
        url = f"http://127.0.0.1:{port}"
        client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        client.create_bucket(Bucket="models")
        client.put_object(Bucket="models", Key="digits/1/model.onnx", Body=b"weights")
        yield url


@pytest.fixture
def aws(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without credentials."""
    for name in VARIABLES:
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG", "SHARED_CREDENTIALS"):
        monkeypatch.setenv(f"AWS_{name}_FILE", str(tmp_path / name))
    return monkeypatch


def assert_fetched(to: Path, method: str) -> None:
    fetch("s3://models/digits", to)
    assert (to / "1/model.onnx").read_bytes() == b"weights"
    source = S3Source("s3://models/digits", connections=1)
    credentials: Any = source._lean._credentials
    assert credentials.method == method
    assert credentials.get_frozen_credentials().token, "a session's"
    source.close()


def test_the_token_that_eks_mounts(aws: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("e30.e30.e30")
    aws.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    aws.setenv("AWS_ROLE_ARN", ROLE)
    assert_fetched(tmp_path / "m", "assume-role-with-web-identity")


def test_a_role_that_a_profile_assumes(aws: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "CONFIG").write_text(f"[profile models]\nrole_arn = {ROLE}\nsource_profile = base\n")
    (tmp_path / "SHARED_CREDENTIALS").write_text("[base]\naws_access_key_id = a\naws_secret_access_key = b\n")
    aws.setenv("AWS_PROFILE", "models")
    assert_fetched(tmp_path / "m", "assume-role")


def test_a_session_of_somebody_elses_making(aws: pytest.MonkeyPatch, address: str, tmp_path: Path) -> None:
    sts = boto3.client(
        "sts", endpoint_url=address, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    given = sts.assume_role(RoleArn=ROLE, RoleSessionName="tests")["Credentials"]
    aws.setenv("AWS_ACCESS_KEY_ID", given["AccessKeyId"])
    aws.setenv("AWS_SECRET_ACCESS_KEY", given["SecretAccessKey"])
    aws.setenv("AWS_SESSION_TOKEN", given["SessionToken"])
    assert_fetched(tmp_path / "m", "env")


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        ("AccessDenied", Reason.ACCESS_DENIED, "system:serviceaccount:NAMESPACE:NAME"),
        ("InvalidIdentityToken", Reason.ACCESS_DENIED, "OIDC provider"),
        ("ExpiredTokenException", Reason.CREDENTIALS_EXPIRED, "AWS_WEB_IDENTITY_TOKEN_FILE"),
    ],
)
def test_a_role_that_is_not_given(  # noqa: PLR0913, PLR0917 (one argument per fixture and parameter)
    s3: Web,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    reason: Reason,
    said: str,
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    (tmp_path / "token").write_text("canary-token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    s3.routes["*"] = lambda handler: send(handler, 400, body.encode(), {})
    with pytest.raises(StorageError) as caught:
        fetch("s3://models/digits", tmp_path / "m")
    assert caught.value.reason is reason
    for part in (said, ROLE, "s3://models"):
        assert part in caught.value.message
    assert "canary" not in json.dumps(caught.value.message)
