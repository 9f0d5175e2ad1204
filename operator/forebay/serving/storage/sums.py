"""Which checksum is taken of a file, and the taking of one."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from forebay.serving.storage.crc import CRCS, Data, TakingCrc


@dataclass(frozen=True)
class Sum:
    """A checksum to take of a file: by a name of hashlib, crc32 or crc32c.

    `beginning` goes before the file's bytes, as git does it. With `part_bytes` one is taken of each part of that size,
    and then one of those, as S3 does for objects that were uploaded in parts.
    """

    algorithm: str
    part_bytes: int = 0
    beginning: bytes = b""


SHA256 = Sum("sha256")
MD5 = Sum("md5")


class Taking(Protocol):
    """A checksum that is being taken."""

    def update(self, data: Data, /) -> object:
        """Go on with the next bytes."""

    def digest(self) -> bytes:
        """What it is so far."""


def start_plain(algorithm: str) -> Taking:
    """Begin to take a sum that has no parts."""
    return _HASHES[algorithm]() if algorithm in _HASHES else TakingCrc(CRCS[algorithm])


_HASHES: Mapping[str, Callable[[], Taking]] = {
    "md5": partial(hashlib.md5, usedforsecurity=False),
    "sha1": partial(hashlib.sha1, usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}
