"""What every kind of storage offers to the download: a listing, ranged reads, and a check of what arrived."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from forebay.serving.storage.checksums import Arrived
from forebay.serving.storage.crc import Data
from forebay.serving.storage.sums import Sum


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the source. `size` is in bytes, None when the server doesn't say; `packed` ones are unpacked."""

    path: str
    key: str = field(repr=False)
    size: int | None
    etag: str
    ranged: bool = True
    packed: bool = False


@dataclass(frozen=True)
class Listing:
    """Everything that the source holds now. `folders` are the empty ones that it names."""

    items: tuple[Item, ...]
    folders: tuple[str, ...] = ()

    @property
    def total(self) -> int | None:
        """Bytes of all files together, None when one of them is unknown."""
        sizes = [item.size for item in self.items]
        return None if None in sizes else sum(size or 0 for size in sizes)


class Source(Protocol):
    """A storage, opened at one address. Its methods are called from several threads."""

    def find(self) -> Listing:
        """List the files. Raises StorageError."""

    def read(self, item: Item, start: int, end: int | None) -> Iterator[Data]:
        """Stream bytes [start, end) of one file. Raises StorageError, transient where another try may help.

        What is given lies in a buffer that the next bytes overwrite.
        """

    def sums(self, item: Item) -> tuple[Sum, ...]:
        """The checksums that `check` will ask for: they are taken while the file arrives. Raises StorageError."""

    def check(self, item: Item, file: Arrived) -> None:
        """Compare a file that arrived with what the server says of it. Raises StorageError(CorruptDownload)."""

    def close(self) -> None:
        """Let the connections go."""
