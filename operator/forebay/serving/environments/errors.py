"""Why libraries could not be installed: one reason from a fixed list, and a sentence that says what to write."""

from enum import StrEnum


class Reason(StrEnum):
    """What went wrong, as it stands in conditions and in the JSON lines of the command."""

    BAD_REQUIREMENT = "BadRequirement"
    NO_SUCH_PACKAGE = "NoSuchPackage"
    NO_SUCH_VERSION = "NoSuchVersion"
    NO_WHEEL = "NoWheel"
    CONFLICT = "Conflict"
    CREDENTIALS_MISSING = "CredentialsMissing"
    ACCESS_DENIED = "AccessDenied"
    UNSUPPORTED_INDEX = "UnsupportedIndex"
    INDEX_UNREACHABLE = "IndexUnreachable"
    CORRUPT_DOWNLOAD = "CorruptDownload"
    DISK_FULL = "DiskFull"
    NOT_WRITABLE = "NotWritable"
    INSTALL_FAILED = "InstallFailed"


class InstallError(Exception):
    """The libraries could not be installed. `package` is the one of which another version may do."""

    def __init__(self, reason: Reason, message: str, *, package: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.package = package

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
