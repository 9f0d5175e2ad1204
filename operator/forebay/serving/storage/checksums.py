"""Checksums of files: taken while they arrive, or read from the disk where that wasn't possible."""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forebay.serving.storage.segments import Segments
from forebay.serving.storage.sums import Sum, Taking, start_plain

READ_BYTES = 1024 * 1024


def nobody() -> None:
    """Who hears of nothing."""


@dataclass(frozen=True)
class Arrived:
    """A file that is on disk, with the sums that were taken on its way there. `on_read` hears that it is read."""

    path: Path
    taken: Mapping[Sum, bytes] = field(default_factory=dict)
    on_read: Callable[[], None] = nobody

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size

    def read_sum(self, wanted: Sum) -> bytes:
        """A sum of the whole file: read again from the disk only when it wasn't taken before."""
        if (taken := self.taken.get(wanted)) is not None:
            return taken
        taking = start_sum(wanted)
        with self.path.open("rb") as file:
            while data := file.read(READ_BYTES):
                taking.update(data)
                self.on_read()
        return taking.digest()

    def read_sum_of_parts(self, algorithm: str, sizes: Iterable[int]) -> bytes:
        """The sum of the sums of parts, whose sizes (bytes) differ."""
        whole = start_plain(algorithm)
        with self.path.open("rb") as file:
            for size in sizes:
                part, left = start_plain(algorithm), size
                while left and (data := file.read(min(left, READ_BYTES))):
                    part.update(data)
                    left -= len(data)
                    self.on_read()
                whole.update(part.digest())
        return whole.digest()


def start_sum(wanted: Sum) -> Taking:
    """Begin to take a sum of a whole file."""
    taking: Taking = Segments(wanted) if wanted.part_bytes else start_plain(wanted.algorithm)
    if wanted.beginning:
        taking.update(wanted.beginning)
    return taking


def write_base64(digest: bytes) -> str:
    """A digest as object stores write it."""
    return base64.b64encode(digest).decode()
