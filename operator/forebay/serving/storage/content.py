"""The digest of a model's content, as `forebay push` writes it into the registry, and what is said of another."""

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from forebay.serving.storage.checksums import Arrived
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.sums import SHA256

MOST_SHOWN = 5


def list_files(source: Path) -> dict[str, Path]:
    """The file, or all files below the folder but hidden ones, by what they are called there."""
    if source.is_file():
        return {source.name: source}
    found = {}
    for parent, folders, names in os.walk(source):
        folders[:] = [each for each in folders if not each.startswith(".")]
        paths = (Path(parent, each) for each in names if not each.startswith("."))
        found.update({path.relative_to(source).as_posix(): path for path in paths if path.is_file()})
    return found


def build_digest(sums: Mapping[str, str]) -> str:
    """The digest of the content, from each file's sha256 in hexadecimal; hidden files are no part of it.

    It is what `sha256sum PATHS | sha256sum` says of the paths in the order of their bytes.
    """
    shown = [name for name in sums if not any(part.startswith(".") for part in name.split("/"))]
    lines = [f"{sums[name]}  {name}\n" for name in sorted(shown, key=str.encode)]
    return f"sha256:{sha256(''.join(lines).encode()).hexdigest()}"


def read_digest(source: Path) -> str:
    """The digest of files that are on disk: all of them are read."""
    return build_digest({name: Arrived(path).read_sum(SHA256).hex() for name, path in list_files(source).items()})


def require_digest(found: str, wanted: str, *, where: str, names: Mapping[str, object]) -> None:
    """Raise StorageError(DigestMismatch) where the content isn't the one that the version was registered with."""
    if found == wanted:
        return
    shown = ", ".join(sorted(names)[:MOST_SHOWN]) + (", ..." if len(names) > MOST_SHOWN else "")
    raise StorageError(
        Reason.DIGEST_MISMATCH,
        f"{where} holds another content than its ModelVersion says: expected {wanted}, found {found}, of {len(names)} "
        f"files ({shown}): put back the files that were pushed, or push what is there as a version of its own "
        "(`forebay push`); where the ModelVersion was written by hand, correct its digest",
    )
