"""What goes wrong with https, in our words."""

import ssl

import httpx

from forebay.serving.storage import wording
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.wording import Words
from forebay.serving.storage.words import HTTPS

_BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT)


def check_status(answer: httpx.Response, *, where: str, has_token: bool, words: Words = HTTPS) -> None:
    """Raise the StorageError that fits the answer's status, unless it is a success."""
    status = answer.status_code
    if answer.is_success:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise StorageError(
                Reason.SERVER_ERROR,
                f"{where}: the server sends {answer.headers['content-encoding']} although it was asked for the plain "
                "file: turn compression off for it",
            )
        return
    if status == httpx.codes.UNAUTHORIZED:
        raise words.expired(where) if has_token else words.missing_credentials(where)
    if status in (httpx.codes.FORBIDDEN, httpx.codes.PROXY_AUTHENTICATION_REQUIRED):
        raise words.denied(where)
    if status in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
        raise StorageError(Reason.NOT_FOUND, f"{where}: the server answers {status}: correct the uri")
    if status == httpx.codes.PRECONDITION_FAILED:
        raise words.replaced(where)
    raise wording.server_error(where, str(status), transient=status in _BUSY or answer.is_server_error)


def from_transport_error(error: httpx.TransportError, *, where: str) -> StorageError:
    """Translate a connection that failed."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return wording.untrusted(where, "SSL_CERT_FILE", cause.verify_message)
    if isinstance(error.__context__, httpx.InvalidURL):
        return StorageError(
            Reason.UNSUPPORTED_URI, f"{where} redirects to no valid address: write the address that it should end at"
        )
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return wording.breaks_off(where)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return StorageError(Reason.UNSUPPORTED_URI, f"{where}: no such request can be made: look at HTTPS_TOKEN")
    what = "doesn't answer in time" if isinstance(error, httpx.TimeoutException) else "can't be reached"
    return StorageError(
        Reason.ENDPOINT_UNREACHABLE,
        f"{where} {what}: look at the host's name, name resolution, proxies (HTTPS_PROXY) and network policies",
        transient=True,
    )


def too_many_redirects(where: str, most: int) -> StorageError:
    """Say that the server sends us in circles."""
    return StorageError(
        Reason.SERVER_ERROR, f"{where} redirects more than {most} times: write the address that it ends at"
    )


def corrupt(where: str, what: str) -> StorageError:
    """Say that the wrong bytes arrived."""
    return StorageError(
        Reason.CORRUPT_DOWNLOAD,
        f"{where}: {what}: run this again (the file is fetched anew); if it stays, the file on the server isn't the "
        "one that was meant",
    )
