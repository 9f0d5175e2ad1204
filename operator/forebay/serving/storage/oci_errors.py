"""What registries say when they refuse, in our words."""

import httpx

from forebay.serving.storage import https_errors
from forebay.serving.storage.errors import Reason, StorageError


def check_status(answer: httpx.Response, *, where: str, signed: bool) -> None:
    """Raise the StorageError that fits the answer's status, unless it is a success."""
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) and not signed:
        raise StorageError(
            Reason.CREDENTIALS_MISSING,
            f"{where} isn't public, or isn't there, and no credentials are set: set DOCKER_AUTH_CONFIG to the text of "
            "a docker config.json (in a ModelDeployment: spec.model.credentials.secretName), or `docker login`",
        )
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise StorageError(
            Reason.CREDENTIALS_EXPIRED,
            f"{where}: the registry doesn't take the user and password of the docker config (any more): log in anew",
        )
    if answer.status_code == httpx.codes.FORBIDDEN:
        raise StorageError(
            Reason.ACCESS_DENIED, f"{where}: the user of the docker config may not pull from this repository: allow it"
        )
    https_errors.check_status(answer, where=where, has_token=signed)


def token_over(where: str) -> StorageError:
    """Say that a registry's token has run out, as they do after minutes: another is asked for."""
    return StorageError(
        Reason.CREDENTIALS_EXPIRED,
        f"{where}: the registry's token ran out, again and again: log in anew",
        transient=True,
    )
