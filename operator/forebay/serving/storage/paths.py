"""Names that a bucket may have and a disk can't, or that lead out of the model's folder."""

from collections.abc import Iterator

from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.source import Listing

# What file systems take for one part, and Linux for a whole path below a volume.
MOST_PART_BYTES, MOST_PATH_BYTES = 255, 2048


def check_paths(listing: Listing, where: str) -> None:
    """Refuse names that are no relative file paths, or that are a file and a folder at once: BadLayout."""
    files = {item.path for item in listing.items}
    if len(files) < len(listing.items):
        raise _bad(f"{where} lists one name twice: look at the server, which must not do that")
    for path in (*files, *listing.folders):
        if not is_path(path):
            raise _bad(f"{where} holds {path[:100]!r}, which can't be a file's path: rename or delete it")
    for path in listing.folders:
        if path in files:
            raise _clash(where, path, f"{path}/")
    for path in (*files, *listing.folders):
        clash = next((parent for parent in _parents(path) if parent in files), None)
        if clash is not None:
            raise _clash(where, clash, path)


def is_path(path: str) -> bool:
    """Whether a name is a relative path that a disk takes and a listing shows as it is."""
    # A newline is a forged line in the digest's list of files; a terminal takes other control characters for commands.
    if "\\" in path or any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        return False
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return False
    parts = encoded.split(b"/")
    longest = max(len(part) for part in parts)
    return not {b"..", b".", b""}.intersection(parts) and longest <= MOST_PART_BYTES and len(encoded) <= MOST_PATH_BYTES


def _parents(path: str) -> Iterator[str]:
    end = path.find("/")
    while end > 0:
        yield path[:end]
        end = path.find("/", end + 1)


def _bad(what: str) -> StorageError:
    return StorageError(Reason.BAD_LAYOUT, what)


def _clash(where: str, file: str, other: str) -> StorageError:
    return _bad(f"{where} holds both {file!r} and {other!r}: one name can't be a file and a folder; delete one of them")
