"""What MLflow's server says when it hands out no files, in our words."""

import httpx

from forebay.serving.storage import https_errors, wording
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.words import MLFLOW

_SHOWN = 200


def check_status(answer: httpx.Response, *, where: str, server: str, has_login: bool) -> None:
    """Raise the StorageError that fits the answer, unless it is a success. `where` names the files."""
    status = answer.status_code
    if answer.is_success:
        https_errors.check_status(answer, where=where, has_token=has_login)
        return
    said = answer.read()[:_SHOWN].decode(errors="replace")
    if status == httpx.codes.UNAUTHORIZED:
        raise MLFLOW.expired(where) if has_login else MLFLOW.missing_credentials(where)
    if status == httpx.codes.FORBIDDEN:
        raise MLFLOW.denied(where, said)
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
    busy = answer.is_server_error or status == httpx.codes.TOO_MANY_REQUESTS
    raise wording.server_error(where, f"{status} ({said})", transient=busy)


def no_mlflow(where: str, server: str) -> StorageError:
    """Say that who answers isn't MLflow."""
    return MLFLOW.not_storage(where, server, "MLflow")
