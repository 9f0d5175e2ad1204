"""The same situation is told by the same sentence, whatever storage it is met in."""

import re
from collections.abc import Callable

import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient
from botocore.exceptions import ClientError, IncompleteReadError
from dulwich.client import HTTPUnauthorized
from google.api_core import exceptions as google

from forebay.serving.storage import (
    StorageError,
    az_errors,
    git_errors,
    gs_errors,
    hf_errors,
    https_errors,
    mlflow_errors,
    oci_errors,
    s3_errors,
    words,
)
from forebay.serving.storage.az_account import Account
from forebay.serving.storage.wording import Words

WHERE = "SCHEME://PLACE/a"
Told = Callable[[int, bool], StorageError]


def raised(check: Callable[..., None], status: int, **facts: object) -> StorageError:
    with pytest.raises(StorageError) as caught:
        check(httpx.Response(status, content=b"no"), where=WHERE, **facts)
    return caught.value


def tell_s3(status: int, known: bool) -> StorageError:
    code = {401: "ExpiredToken", 403: "AccessDenied", 412: "PreconditionFailed", 500: "500"}[status]
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return s3_errors.from_client_error(ClientError(answer, "GetObject"), where=WHERE, signed=known)


def tell_gs(status: int, known: bool) -> StorageError:
    error = google.from_http_status(status, "no")
    return gs_errors.translate(error, where=WHERE, signed=known, reading=True)


def tell_az(status: int, known: bool) -> StorageError:
    error = HttpResponseError("no")
    error.response, error.status_code = object(), status
    error.error_code = {403: "AuthorizationPermissionMismatch", 412: "ConditionNotMet"}.get(status)
    account = Account(BlobServiceClient("https://a.blob.core.windows.net"), "AZURE_CLIENT_ID" if known else "")
    return az_errors.translate(error, where=WHERE, account=account)


def tell_https(status: int, known: bool) -> StorageError:
    return raised(https_errors.check_status, status, has_token=known)


def tell_hf(status: int, known: bool) -> StorageError:
    return raised(hf_errors.check_status, status, has_token=known)


def tell_oci(status: int, known: bool) -> StorageError:
    return raised(oci_errors.check_status, status, signed=known)


def tell_mlflow(status: int, known: bool) -> StorageError:
    return raised(mlflow_errors.check_status, status, server="https://mlflow", has_login=known)


def tell_git(status: int, known: bool) -> StorageError:
    error = HTTPUnauthorized(None, WHERE) if status == 401 else OSError(f"unexpected http resp {status} for x")
    return git_errors.from_git_error(error, WHERE, by_commit=False, has_password=known)


EVERYWHERE: list[tuple[Told, Words]] = [
    (tell_s3, words.S3),
    (tell_gs, words.GS),
    (tell_az, words.AZ),
    (tell_https, words.HTTPS),
    (tell_hf, words.HF),
    (tell_oci, words.OCI),
    (tell_mlflow, words.MLFLOW),
    (tell_git, words.GIT),
]


@pytest.mark.parametrize(("told", "its"), EVERYWHERE)
def test_credentials(told: Told, its: Words) -> None:
    status = 403 if told is tell_s3 else 401
    assert str(told(status, False)) == str(its.missing_credentials(WHERE))
    if told is not tell_az:  # which says what it was given
        assert str(told(401, True)) == str(its.expired(WHERE))
    assert told(403, True).message.startswith(its.denied(WHERE).message)


@pytest.mark.parametrize(("told", "its"), EVERYWHERE)
def test_files_that_change_and_servers_in_trouble(told: Told, its: Words) -> None:
    if told not in (tell_git, tell_mlflow):  # they know no such condition
        assert str(told(412, True)) == str(its.replaced(WHERE))
    if told is not tell_git:  # dulwich says it in words of its own
        sentence = rf"ServerError: {WHERE}: the server answers 500.*: run this again, and look at the server's own log"
        assert re.match(sentence, str(told(500, True)))


def test_what_breaks_off() -> None:
    s3 = s3_errors.from_boto_error(IncompleteReadError(actual_bytes=1, expected_bytes=2), where=WHERE, endpoint="x")
    web = https_errors.from_transport_error(httpx.ReadError("no"), where=WHERE)
    gs = gs_errors.translate(ValueError("no"), where=WHERE, signed=True, reading=True)
    assert str(s3) == str(web) == str(gs)
    assert s3.transient
    assert tell_s3(500, True).transient is False
