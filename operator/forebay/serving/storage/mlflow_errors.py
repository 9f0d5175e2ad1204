"""What MLflow's server says when it hands out no files, in our words."""

import httpx

from forebay.serving.storage import https_errors
from forebay.serving.storage.errors import Reason, StorageError

_HOW = (
    "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (in a ModelDeployment: "
    "spec.model.credentials.secretName)"
)
_SHOWN = 200


def check_status(answer: httpx.Response, *, where: str, server: str, has_login: bool) -> None:
    """Raise the StorageError that fits the answer, unless it is a success. `where` names the files."""
    status = answer.status_code
    if answer.is_success:
        https_errors.check_status(answer, where=where, has_token=has_login)
        return
    said = answer.read()[:_SHOWN].decode(errors="replace")
    if status == httpx.codes.UNAUTHORIZED and not has_login:
        raise StorageError(Reason.CREDENTIALS_MISSING, f"{where}: {server} asks for credentials: {_HOW}")
    if status == httpx.codes.UNAUTHORIZED:
        raise StorageError(Reason.CREDENTIALS_EXPIRED, f"{where}: {server} doesn't accept the credentials: {_HOW} anew")
    if status == httpx.codes.FORBIDDEN:
        raise StorageError(
            Reason.ACCESS_DENIED,
            f"{where}: {server} doesn't allow it: let the user of these credentials read the model, and the server be "
            f"called by this name (--allowed-hosts). It says: {said}",
        )
    if status == httpx.codes.NOT_FOUND:
        raise StorageError(
            Reason.NOT_FOUND,
            f"{where}: {server} has no such files (any more): log the model anew, and register that version",
        )
    if status == httpx.codes.SERVICE_UNAVAILABLE and "serv" in said:
        raise StorageError(
            Reason.SERVER_ERROR,
            f"{where}: {server} hands out no files: start it with --serve-artifacts. It says: {said}",
            transient=True,
        )
    raise StorageError(
        Reason.SERVER_ERROR,
        f"{where}: {server} answers {status}: run this again, and look at the server's own log if it goes on: {said}",
        transient=answer.is_server_error or status == httpx.codes.TOO_MANY_REQUESTS,
    )


def no_mlflow(where: str, server: str) -> StorageError:
    """Say that who answers isn't MLflow."""
    return StorageError(
        Reason.SERVER_ERROR, f"{where}: {server} answers something else than MLflow does: look at MLFLOW_TRACKING_URI"
    )
