"""What registries say when they refuse, in our words."""

import httpx

from forebay.serving.storage import https_errors
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.words import OCI


def check_status(answer: httpx.Response, *, where: str, signed: bool) -> None:
    """Raise the StorageError that fits the answer's status, unless it is a success."""
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) and not signed:
        raise OCI.missing_credentials(where)
    https_errors.check_status(answer, where=where, has_token=signed, words=OCI)


def token_over(where: str) -> StorageError:
    """Say that a registry's token has run out, as they do after minutes: another is asked for."""
    return StorageError(
        Reason.CREDENTIALS_EXPIRED,
        f"{where}: the registry's token ran out, again and again: log in anew",
        transient=True,
    )
