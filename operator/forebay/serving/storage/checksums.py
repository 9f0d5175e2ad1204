"""Checksums of files, as object stores write them."""

import base64
import hashlib
from pathlib import Path


def read_md5(path: Path) -> str:
    """The MD5 of a file, in base64."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return base64.b64encode(digest).decode()
