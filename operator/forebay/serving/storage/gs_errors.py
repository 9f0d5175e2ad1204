"""What Google Cloud Storage and its library say when they fail, in our words."""

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from forebay.serving.storage import wording
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.words import GS

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
        return GS.expired(where)
    if isinstance(error, api.RetryError) and isinstance(error.cause, api.GoogleAPICallError):
        return translate(error.cause, where=where, signed=signed, reading=reading)
    if isinstance(error, _UNREACHABLE):
        return GS.unreachable(where, "Google Cloud Storage, or what STORAGE_EMULATOR_HOST names,")
    if isinstance(error, auth.GoogleAuthError):
        return bad_credentials()
    return _from_answer(error, where=where, signed=signed, reading=reading)


def _from_answer(error: Exception, *, where: str, signed: bool, reading: bool) -> StorageError:
    status = int(getattr(error, "code", 0) or 0)
    if not status:
        return wording.breaks_off(where)
    if status in (401, 403) and not signed:
        return GS.missing_credentials(where)
    known = {
        400: GS.no_name,
        401: GS.expired,
        403: GS.denied,
        404: GS.gone if reading else GS.no_bucket,
        412: GS.replaced,
    }
    return known[status](where) if status in known else wording.server_error(where, str(status))


def bad_credentials() -> StorageError:
    """Say that credentials are set that can't be read."""
    return StorageError(
        Reason.CREDENTIALS_MISSING,
        f"GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_APPLICATION_CREDENTIALS_JSON holds no key that can be used: "
        f"{GS.credentials} {GS.manifest}",
    )
