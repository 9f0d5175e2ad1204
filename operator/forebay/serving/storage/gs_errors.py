"""What Google Cloud Storage and its library say when they fail, in our words."""

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from forebay.serving.storage.errors import Reason, StorageError

_HOW = (
    "set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account's key, or GOOGLE_APPLICATION_CREDENTIALS_JSON "
    "to its text (in a ModelDeployment: spec.model.credentials.secretName)"
)
_UNREACHABLE = (
    api.RetryError,
    requests.ConnectionError,
    requests.Timeout,
    auth.TransportError,
)


def translate(error: Exception, *, where: str, signed: bool, reading: bool) -> StorageError:
    """Translate an error of the library.

    `where` names bucket and key; `signed` says that credentials were sent, `reading` that the object was listed before.
    """
    if isinstance(error, auth.RefreshError):
        return StorageError(
            Reason.CREDENTIALS_EXPIRED,
            f"{where}: Google gives no token for these credentials (any more): make a new key of the service account, "
            "and look whether this machine's clock is right",
        )
    if isinstance(error, api.RetryError) and isinstance(error.cause, api.GoogleAPICallError):
        return translate(error.cause, where=where, signed=signed, reading=reading)
    if isinstance(error, _UNREACHABLE):
        return StorageError(
            Reason.ENDPOINT_UNREACHABLE,
            f"{where}: the server can't be reached: look at STORAGE_EMULATOR_HOST, name resolution, proxies "
            "(HTTPS_PROXY) and network policies",
            transient=True,
        )
    if isinstance(error, auth.GoogleAuthError):
        return bad_credentials()
    return _from_answer(error, where=where, signed=signed, reading=reading)


def _from_answer(error: Exception, *, where: str, signed: bool, reading: bool) -> StorageError:
    status = int(getattr(error, "code", 0) or 0)
    if not status:
        return StorageError(
            Reason.CORRUPT_DOWNLOAD,
            f"{where} breaks off, again and again: look at the limits of the server, or of the proxy before it",
            transient=True,
        )
    if status == 404 and not reading:
        return StorageError(
            Reason.BUCKET_NOT_FOUND, f"{where}: there is no such bucket: look for a typing error in its name"
        )
    if status in (401, 403) and not signed:
        return StorageError(
            Reason.CREDENTIALS_MISSING,
            f"{where} isn't public, or there is no such bucket, and no credentials are set: {_HOW}",
        )
    known = {
        400: (Reason.BUCKET_NOT_FOUND, "Google can't have such a bucket or key: correct the uri"),
        401: (Reason.CREDENTIALS_EXPIRED, "the token isn't accepted (any more): make a new key of the service account"),
        403: (
            Reason.ACCESS_DENIED,
            "the credentials don't allow it: grant the service account the role Storage Object Viewer "
            "(roles/storage.objectViewer) on the bucket",
        ),
        404: (
            Reason.CORRUPT_DOWNLOAD,
            "the object is gone: it was deleted or replaced during the download; run this again",
        ),
        412: (Reason.CORRUPT_DOWNLOAD, "the object was replaced during the download: run this again"),
    }
    if status in known:
        reason, advice = known[status]
        return StorageError(reason, f"{where}: {advice}")
    return StorageError(
        Reason.SERVER_ERROR,
        f"{where}: the server answers {status}: run this again, and look at the server's own log if it goes on",
    )


def bad_credentials() -> StorageError:
    """Say that credentials are set that can't be read."""
    return StorageError(
        Reason.CREDENTIALS_MISSING,
        f"GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_APPLICATION_CREDENTIALS_JSON holds no key that can be used: {_HOW}",
    )
