"""What a version's files are: their paths, and the digest of it all."""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from forebay.errors import UserError

_WORKERS = 4


class File(NamedTuple):
    """A file of a version: where it is, what it is called there, and the sha256 of its content in hexadecimal."""

    path: Path
    name: str
    size: int
    sha256: str


def read_files(source: Path) -> list[File]:
    """The file, or all files below the folder but hidden ones, sorted by name. UserError where there are none."""
    if source.is_file():
        found = {source.name: source}
    elif source.is_dir():
        found = {path.relative_to(source).as_posix(): path for path in _walk(source)}
    else:
        raise UserError(f"there is no file or folder {source}")
    if not found:
        raise UserError(f"{source} holds no files: push the folder of the model, or a Triton repository")
    with ThreadPoolExecutor(_WORKERS) as pool:
        digests = pool.map(_hash, found.values())
        files = [
            File(path, name, path.stat().st_size, digest)
            for (name, path), digest in zip(found.items(), digests, strict=True)
        ]
    return sorted(files, key=lambda each: each.name)


def compute_digest(files: Iterable[File]) -> str:
    """The digest of the content: what `sha256sum PATHS | sha256sum` says of the paths in the order of their bytes."""
    lines = [f"{each.sha256}  {each.name}\n" for each in sorted(files, key=lambda each: each.name.encode())]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _walk(folder: Path) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        yield from (path for each in names if not each.startswith(".") and (path := Path(parent, each)).is_file())


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
