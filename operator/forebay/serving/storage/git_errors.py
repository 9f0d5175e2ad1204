"""What goes wrong with git, in our words."""

import difflib
import re
from collections.abc import Iterable

from dulwich.client import HTTPProxyUnauthorized, HTTPUnauthorized
from dulwich.errors import HangupException, NotGitRepository

from forebay.serving.storage.errors import Reason, StorageError

_MOST_SHOWN = 8
_SECRET = "GIT_USERNAME and GIT_PASSWORD (in a ModelDeployment: custom.credentials.secretName)"  # noqa: S105


# What else dulwich says, most special first. {} is filled with the repository's address and the words.
_SAID: tuple[tuple[str, Reason, bool, str], ...] = (
    (
        r"http resp 403",
        Reason.ACCESS_DENIED,
        False,
        f"{{url}}: the server answers 403: let the user read it, or set {_SECRET}",
    ),
    (
        r"certificate",
        Reason.ENDPOINT_UNREACHABLE,
        False,
        "{url}: the server's certificate isn't trusted: set SSL_CERT_FILE to the file of its authority",
    ),
    (
        r"not our ref|unadvertised",
        Reason.NOT_FOUND,
        False,
        "{url} has no such commit, or gives none by its id: write a branch or a tag, or correct it",
    ),
    (
        r"Max retries|Failed to establish|timed out|resolve|redirect|scheme",
        Reason.ENDPOINT_UNREACHABLE,
        True,
        "{url} can't be reached: look at the host's name, proxies (HTTPS_PROXY) and network policies ({words})",
    ),
)


def from_git_error(error: Exception, url: str, *, by_commit: bool, has_password: bool) -> StorageError:
    """Translate what dulwich raises where a commit was asked for by its id, or by a name."""
    if isinstance(error, HTTPUnauthorized):
        return _unauthorized(url, has_password=has_password)
    if isinstance(error, HTTPProxyUnauthorized):
        return StorageError(Reason.ACCESS_DENIED, f"{url}: the proxy asks for credentials: write them into HTTPS_PROXY")
    if isinstance(error, NotGitRepository):
        message = f"{url} is no git repository, or none that this user may see: correct the address, or set {_SECRET}"
        return StorageError(Reason.NOT_FOUND, message)
    words = str(error)[:300] or type(error).__name__
    if by_commit and isinstance(error, HangupException):  # all that many servers say of a commit they don't have
        words = "not our ref"
    for pattern, reason, transient, text in _SAID:
        if re.search(pattern, words, re.IGNORECASE):
            return StorageError(reason, text.format(url=url, words=words), transient=transient)
    return StorageError(Reason.SERVER_ERROR, f"{url}: {words}: run this again")


def _unauthorized(url: str, *, has_password: bool) -> StorageError:
    if has_password:
        message = f"{url} doesn't accept GIT_USERNAME and GIT_PASSWORD (any more): get new ones"
        return StorageError(Reason.CREDENTIALS_EXPIRED, message)
    message = f"{url} asks for credentials, as it also does where there is no such repository: set {_SECRET}"
    return StorageError(Reason.CREDENTIALS_MISSING, message)


def describe_missing_ref(url: str, ref: str, refs: Iterable[bytes]) -> str:
    """That a repository has no such branch or tag, with what is near."""
    names = [name.decode(errors="replace") for name in refs]
    short = sorted({re.sub(r"^refs/(heads|tags)/", "", name) for name in names if not name.endswith("^{}")} - {"HEAD"})
    near = difflib.get_close_matches(ref, short, n=3)
    there = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(short[:_MOST_SHOWN]) or 'none'}"
    return f"{url} has no branch, tag or whole commit id {ref or 'HEAD'}: {there}"
