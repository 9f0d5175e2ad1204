"""What the Hugging Face Hub and its library say when they fail, in our words."""

import httpx
import httpx2
from huggingface_hub import errors as hub

from forebay.serving.storage import https_errors, wording
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.words import HF


def translate(error: Exception, *, where: str, endpoint: str, has_token: bool) -> StorageError:
    """Translate what the listing raised. `where` names the model, `endpoint` the server."""
    if isinstance(error, hub.GatedRepoError):
        return _gated(where, has_token=has_token)
    if isinstance(error, hub.RevisionNotFoundError):
        return StorageError(
            Reason.NOT_FOUND, f"{where}: the model has no such branch, tag or commit: write hf://ORG/MODEL@main"
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        # The Hub doesn't tell strangers which private models there are.
        advice = (
            "look for a typing error, and whether HF_TOKEN's owner may see it"
            if has_token
            else f"if it is private, {HF.credentials} {HF.manifest}"
        )
        return StorageError(Reason.NOT_FOUND, f"{where}: {endpoint} shows no such model: {advice}")
    if isinstance(error, hub.HfHubHTTPError) and error.response is not None:
        return _from_status(error.response.status_code, where=where, has_token=has_token)
    return _no_answer(error, where=where, endpoint=endpoint)


def _no_answer(error: Exception, *, where: str, endpoint: str) -> StorageError:
    if isinstance(error, httpx2.TransportError):
        return HF.unreachable(where, endpoint)
    if isinstance(error, hub.HFValidationError):
        return StorageError(Reason.UNSUPPORTED_URI, f"{where}: the Hub can't have such a name: correct the uri")
    return HF.not_storage(where, endpoint, "the Hub")


def check_status(answer: httpx.Response, *, where: str, has_token: bool) -> None:
    """Raise the StorageError that fits the answer to a file's request, unless it is a success."""
    if answer.headers.get("x-error-code") == "GatedRepo":
        raise _gated(where, has_token=has_token)
    if answer.status_code in (401, 403):
        raise _from_status(answer.status_code, where=where, has_token=has_token)
    https_errors.check_status(answer, where=where, has_token=has_token, words=HF)


def signature_over(where: str) -> StorageError:
    """Say that an address that the Hub gave is no longer good: it gives another."""
    return StorageError(
        Reason.ACCESS_DENIED,
        f"{where}: the Hub's file server refuses what the Hub signed: run this again",
        transient=True,
    )


def _gated(where: str, *, has_token: bool) -> StorageError:
    if has_token:
        advice = "accept its terms on its page, with the account that HF_TOKEN is of"
        return StorageError(Reason.ACCESS_DENIED, f"{where} is given on request: {advice}")
    return StorageError(
        Reason.CREDENTIALS_MISSING,
        f"{where} is given on request: accept its terms on its page, and {HF.credentials} {HF.manifest}",
    )


def _from_status(status: int, *, where: str, has_token: bool) -> StorageError:
    if status in (401, 403) and not has_token:
        return HF.missing_credentials(where)
    if status in (401, 403):
        return HF.expired(where) if status == 401 else HF.denied(where)
    return wording.server_error(where, str(status), transient=status in (408, 429) or status >= 500)
