"""What uv says when it can't install, in our words: the reason, and what to write instead."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement

from forebay.serving.environments.errors import InstallError, Reason
from forebay.serving.environments.resolution import explain_resolution
from forebay.serving.storage.errors import disk_full

_CREDENTIALS = "UV_INDEX_CUSTOM_USERNAME and UV_INDEX_CUSTOM_PASSWORD in the Secret of custom.index.credentials"
_LONGEST = 900
_NOISE = re.compile(r"\s*(Resolved|Using|Downloading|Downloaded|Prepared|Installed) ")

_DISK = re.compile(r"No space left on device|Disk quota exceeded|os error (28|122)\b")
_UNAUTHORIZED = re.compile(r"\b401\b|[Mm]issing credentials|lack of valid authentication")
_FORBIDDEN = re.compile(r"\b403\b|\b407\b|appropriate permissions")
_CERTIFICATE = re.compile(r"invalid peer certificate|UnknownIssuer|certificate verify failed")
_CORRUPT = re.compile(r"[Hh]ash mismatch|[Ff]ailed to (extract|read|unzip)|[Ii]nvalid (zip|wheel)|not a valid wheel")
_CONNECTION = re.compile(
    r"error sending request|connect error|client error|dns error|timed out|HTTP status server error|\b5\d\d [A-Z]"
)


def explain(text: str, wanted: Sequence[Requirement], index_url: str, folder: Path) -> InstallError:
    """The error for what uv said when it ended."""
    words = " ".join(" ".join(line for line in text.splitlines() if not _NOISE.match(line)).split())
    where = index_url or "the package index"
    if _DISK.search(words):
        return InstallError(Reason.DISK_FULL, disk_full(folder, None, shutil.disk_usage(folder).free).message)
    if found := explain_resolution(words, wanted):
        # uv counts a refusal among the packages that aren't there, and says so in a hint.
        return _of_access(words, where) or found
    return _of_access(words, where) or _of_connection(words, where) or _unknown(words)


def _of_access(words: str, where: str) -> InstallError | None:
    if _UNAUTHORIZED.search(words):
        message = f"{where} answers 401: write {_CREDENTIALS}, or correct them"
        return InstallError(Reason.CREDENTIALS_MISSING, message)
    if _FORBIDDEN.search(words):
        message = f"{where} answers 403: let the user read it, or correct {_CREDENTIALS}"
        return InstallError(Reason.ACCESS_DENIED, message)
    return None


def _of_connection(words: str, where: str) -> InstallError | None:
    if _CERTIFICATE.search(words):
        message = f"{where} has a certificate that isn't trusted: set SSL_CERT_FILE to the file of its authority"
        return InstallError(Reason.INDEX_UNREACHABLE, message)
    if _CORRUPT.search(words):
        message = f"{words[:_LONGEST]}: run this again; if it stays, upload the wheel again, or write another version"
        return InstallError(Reason.CORRUPT_DOWNLOAD, message)
    if _CONNECTION.search(words):
        cause = words.rpartition("cause: ")[2][:200]
        message = (
            f"{where} can't be reached ({cause}): look at custom.index.url, name resolution, proxies (HTTPS_PROXY) and "
            "network policies"
        )
        return InstallError(Reason.INDEX_UNREACHABLE, message)
    return None


def _unknown(words: str) -> InstallError:
    return InstallError(Reason.INSTALL_FAILED, words[:_LONGEST])
