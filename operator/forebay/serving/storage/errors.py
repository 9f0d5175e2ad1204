"""Why a model's files could not be had: one reason from a fixed list, and a sentence that says what to do."""

import errno
import re
import shutil
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, urlsplit


class Reason(StrEnum):
    """What went wrong, as it stands in conditions and in the JSON lines of the command."""

    UNSUPPORTED_URI = "UnsupportedURI"
    NOT_FOUND = "NotFound"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "AccessDenied"
    CREDENTIALS_MISSING = "CredentialsMissing"
    CREDENTIALS_EXPIRED = "CredentialsExpired"
    WRONG_REGION = "WrongRegion"
    ENDPOINT_UNREACHABLE = "EndpointUnreachable"
    CORRUPT_DOWNLOAD = "CorruptDownload"
    DIGEST_MISMATCH = "DigestMismatch"
    DISK_FULL = "DiskFull"
    NOT_WRITABLE = "NotWritable"
    UNSAFE_ARCHIVE = "UnsafeArchive"
    BAD_LAYOUT = "BadLayout"
    BAD_FORMAT = "BadFormat"
    BAD_CONFIG = "BadConfig"
    SERVER_ERROR = "ServerError"


class StorageError(Exception):
    """The model's files could not be had. `transient` says that another try may help."""

    def __init__(self, reason: Reason, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.transient = transient

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def redact(uri: str) -> str:
    """Shorten an address to what is safe to show: user names, passwords, queries (signatures) and fragments go."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # a stray bracket
        scheme, _, rest = re.split("[?#]", uri, maxsplit=1)[0].partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def split(uri: str) -> SplitResult:
    """The parts of an address. Raises StorageError(UnsupportedURI) where nobody can tell them."""
    try:
        return urlsplit(uri)
    except ValueError:  # whose text may hold a password
        raise StorageError(
            Reason.UNSUPPORTED_URI,
            f"{redact(uri)} is no address: write the name of a host or a bucket behind //, in plain letters and with "
            "no brackets",
        ) from None


def show_bytes(count: int) -> str:
    """Write a number of bytes for people: `734.0 MiB`."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def disk_full(folder: Path, need: int | None, have: int) -> StorageError:
    """Say that the disk is too small. `need` and `have` in bytes; `need` is None when the size was never announced."""
    wanted = f"{show_bytes(need)} more are needed" if need is not None else "the download did not fit"
    return StorageError(
        Reason.DISK_FULL,
        f"{wanted} under {folder}, which has {show_bytes(have)} free: give the volume more space, or make room there",
    )


def from_os_error(error: OSError, folder: Path) -> StorageError:
    """Translate what the disk answered while files were written under `folder`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(folder, None, shutil.disk_usage(folder).free)
    return StorageError(
        Reason.NOT_WRITABLE,
        f"cannot write under {folder}: {error.strerror or error}: write to a folder whose parent this user "
        f"may write to (a folder inside the volume, not the mount point itself)",
    )
