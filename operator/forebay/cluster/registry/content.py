"""What a version's files are: their paths, and the digest of it all."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from forebay.errors import UserError
from forebay.serving.storage.content import build_digest, list_files

_WORKERS = 4


class File(NamedTuple):
    """A file of a version: where it is, what it is called there, and the sha256 of its content in hexadecimal."""

    path: Path
    name: str
    size: int
    sha256: str


def read_files(source: Path) -> list[File]:
    """The file, or all files below the folder but hidden ones, sorted by name. UserError where there are none."""
    if not source.exists():
        raise UserError(f"there is no file or folder {source}")
    found = list_files(source)
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
    """The digest of the content: who serves it takes it anew."""
    return build_digest({each.name: each.sha256 for each in files})


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
