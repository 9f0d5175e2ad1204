"""What the Hugging Face Hub and its library say when they fail, in our words."""

import httpx
import httpx2
from huggingface_hub import errors as hub

from forebay.serving.storage import https_errors
from forebay.serving.storage.errors import Reason, StorageError

_HOW = "set HF_TOKEN to an access token (in a ModelDeployment: spec.model.credentials.secretName)"


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
            else f"if it is private, {_HOW}"
        )
        return StorageError(Reason.NOT_FOUND, f"{where}: {endpoint} shows no such model: {advice}")
    if isinstance(error, hub.HfHubHTTPError) and error.response is not None:
        return _from_status(error.response.status_code, where=where, has_token=has_token)
    return _no_answer(error, where=where, endpoint=endpoint)


def _no_answer(error: Exception, *, where: str, endpoint: str) -> StorageError:
    if isinstance(error, httpx2.TransportError):
        return StorageError(
            Reason.ENDPOINT_UNREACHABLE,
            f"{where}: {endpoint} can't be reached: look at HF_ENDPOINT, name resolution, proxies (HTTPS_PROXY) and "
            "network policies",
            transient=True,
        )
    if isinstance(error, hub.HFValidationError):
        return StorageError(Reason.UNSUPPORTED_URI, f"{where}: the Hub can't have such a name: correct the uri")
    return StorageError(
        Reason.SERVER_ERROR, f"{where}: {endpoint} answers something else than the Hub does: look at HF_ENDPOINT"
    )


def check_status(answer: httpx.Response, *, where: str, has_token: bool) -> None:
    """Raise the StorageError that fits the answer to a file's request, unless it is a success."""
    if answer.headers.get("x-error-code") == "GatedRepo":
        raise _gated(where, has_token=has_token)
    if answer.status_code in (401, 403):
        raise _from_status(answer.status_code, where=where, has_token=has_token)
    https_errors.check_status(answer, where=where, has_token=has_token)


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
        Reason.CREDENTIALS_MISSING, f"{where} is given on request: accept its terms on its page, and {_HOW}"
    )


def _from_status(status: int, *, where: str, has_token: bool) -> StorageError:
    if status in (401, 403) and not has_token:
        return StorageError(Reason.CREDENTIALS_MISSING, f"{where} isn't public: {_HOW}")
    if status == 401:
        return StorageError(
            Reason.CREDENTIALS_EXPIRED, f"{where}: the token in HF_TOKEN isn't accepted (any more): make a new one"
        )
    if status == 403:
        return StorageError(
            Reason.ACCESS_DENIED, f"{where}: the token in HF_TOKEN doesn't allow it: give it read access to this model"
        )
    return StorageError(
        Reason.SERVER_ERROR,
        f"{where}: the Hub answers {status}: run this again, and look at status.huggingface.co if it goes on",
        transient=status in (408, 429) or status >= 500,
    )
