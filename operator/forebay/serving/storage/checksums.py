"""Checksums of files: taken while they arrive, in order, or read from the disk where that wasn't possible."""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

READ_BYTES = 1024 * 1024
Data = bytes | memoryview


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


@dataclass(frozen=True)
class Arrived:
    """A file that is on disk, with the sums that were taken on its way there."""

    path: Path
    taken: Mapping[Sum, Taking] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size

    def read_sum(self, wanted: Sum) -> bytes:
        """A sum of the whole file: read again from the disk only when it wasn't taken before."""
        if (taken := self.taken.get(wanted)) is not None:
            return taken.digest()
        taking = start_sum(wanted)
        with self.path.open("rb") as file:
            while data := file.read(READ_BYTES):
                taking.update(data)
        return taking.digest()

    def read_sum_of_parts(self, algorithm: str, sizes: Iterable[int]) -> bytes:
        """The sum of the sums of parts, whose sizes (bytes) differ."""
        whole = start_sum(Sum(algorithm))
        with self.path.open("rb") as file:
            for size in sizes:
                part, left = start_sum(Sum(algorithm)), size
                while left and (data := file.read(min(left, READ_BYTES))):
                    part.update(data)
                    left -= len(data)
                whole.update(part.digest())
        return whole.digest()


def start_sum(wanted: Sum) -> Taking:
    """Begin to take a sum."""
    taking = _Parts(_ALGORITHMS[wanted.algorithm], wanted.part_bytes) if wanted.part_bytes else _start(wanted.algorithm)
    if wanted.beginning:
        taking.update(wanted.beginning)
    return taking


def write_base64(digest: bytes) -> str:
    """A digest as object stores write it."""
    return base64.b64encode(digest).decode()


def _start(algorithm: str) -> Taking:
    return _ALGORITHMS[algorithm]()


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Data) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _Parts:
    def __init__(self, start: Callable[[], Taking], part_bytes: int) -> None:
        self._start, self._part_bytes, self._left = start, part_bytes, part_bytes
        self._whole, self._part = start(), start()

    def update(self, data: Data) -> None:
        view = memoryview(data)
        while len(view) > self._left:
            self._part.update(view[: self._left])
            self._whole.update(self._part.digest())
            view, self._part, self._left = view[self._left :], self._start(), self._part_bytes
        self._part.update(view)
        self._left -= len(view)

    def digest(self) -> bytes:
        # The last part is never empty; asked again, the answer is the same.
        if self._left >= 0:
            self._whole.update(self._part.digest())
            self._left = -1
        return self._whole.digest()


def _start_crc32c() -> Taking:
    import google_crc32c  # noqa: PLC0415  (only two of the stores use it)

    taking: Taking = google_crc32c.Checksum()
    return taking


_ALGORITHMS: Mapping[str, Callable[[], Taking]] = {
    "md5": partial(hashlib.md5, usedforsecurity=False),
    "sha1": partial(hashlib.sha1, usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "crc32": _Crc32,
    "crc32c": _start_crc32c,
}
