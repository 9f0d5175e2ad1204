"""What goes wrong with git, in our words."""

import difflib
import re
from collections.abc import Callable, Iterable

from dulwich.client import HTTPProxyUnauthorized, HTTPUnauthorized
from dulwich.errors import HangupException, NotGitRepository

from forebay.serving.storage import wording
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.words import GIT

_MOST_SHOWN = 8
_SECRET = f"GIT_USERNAME and GIT_PASSWORD {GIT.manifest}"


# What else dulwich says, most special first; the lambdas take the repository's address, and the words.
_SAID: tuple[tuple[str, Callable[[str, str], StorageError]], ...] = (
    (r"http resp 403", lambda url, _: GIT.denied(url)),
    (r"certificate", lambda url, _: wording.untrusted(url, "SSL_CERT_FILE")),
    (
        r"not our ref|unadvertised",
        lambda url, _: StorageError(
            Reason.NOT_FOUND,
            f"{url} has no such commit, or gives none by its id: write a branch or a tag, or correct it",
        ),
    ),
    (
        r"Max retries|Failed to establish|timed out|resolve|redirect|scheme",
        lambda url, words: GIT.unreachable(url, f"the server ({words})"),
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
    for pattern, say in _SAID:
        if re.search(pattern, words, re.IGNORECASE):
            return say(url, words)
    return StorageError(Reason.SERVER_ERROR, f"{url}: {words}: run this again")


def _unauthorized(url: str, *, has_password: bool) -> StorageError:
    return GIT.expired(url) if has_password else GIT.missing_credentials(url)


def describe_missing_ref(url: str, ref: str, refs: Iterable[bytes]) -> str:
    """That a repository has no such branch or tag, with what is near."""
    names = [name.decode(errors="replace") for name in refs]
    short = sorted({re.sub(r"^refs/(heads|tags)/", "", name) for name in names if not name.endswith("^{}")} - {"HEAD"})
    near = difflib.get_close_matches(ref, short, n=3)
    there = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(short[:_MOST_SHOWN]) or 'none'}"
    return f"{url} has no branch, tag or whole commit id {ref or 'HEAD'}: {there}"
