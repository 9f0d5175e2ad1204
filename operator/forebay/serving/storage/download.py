"""The download itself: bounded workers, ranged pieces, retries, and a check of every file."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.serving.storage.arriving import Arriving, Takings
from forebay.serving.storage.crc import Data
from forebay.serving.storage.disk import sync
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.journal import Journal, Piece
from forebay.serving.storage.progress import Meter
from forebay.serving.storage.retry import READ_TRIES, pause_s
from forebay.serving.storage.segments import PIECE_BYTES, choose_piece_bytes
from forebay.serving.storage.source import Item, Listing, Source
from forebay.serving.storage.sums import Sum
from forebay.serving.storage.workers import run_workers

WORKERS = 8


class Download:
    """Brings the files of one listing into one folder. Holds a network buffer per worker, never a whole file."""

    def __init__(self, source: Source, folder: Path, journal: Journal, meter: Meter) -> None:
        self._source, self._folder, self._journal, self._meter = source, folder, journal, meter
        self._stop = threading.Event()
        self._also: tuple[Sum, ...] = ()
        self._sums: dict[str, str] = {}

    def run(self, listing: Listing, *, also: tuple[Sum, ...] = ()) -> dict[str, str]:
        """Fetch what isn't there yet, and answer each file's sum of the kind that is asked for `also`, by its path.

        Raises the first StorageError or OSError, after every worker has stopped.
        """
        self._also = also
        for folder in {os.path.dirname(item.path) for item in listing.items}:  # noqa: PTH120  (of many thousands)
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        # What is next is only made up when somebody is free for it: a listing may be long.
        work = (work for item in listing.items for work in self._prepare(item))
        run_workers(WORKERS, work, lambda each: self._work(*each), progress=lambda: self._meter.moves, stop=self._stop)
        sync(self._folder, [self._folder / item.path for item in listing.items])
        return self._sums

    def _prepare(self, item: Item) -> list[tuple[Item, Arriving, Piece | None]]:
        """Name the pieces that are missing, of a file that has its full size already if it comes in several."""
        known, path = self._source.sums(item), self._folder / item.path
        sums = (*known, *self._also)
        pieces = split(item, choose_piece_bytes(sums))
        there = self._journal.pieces(item, is_checked=bool(known)).intersection(pieces)
        if there and not path.is_file():
            there = set()
        if len(pieces) > 1 and not there:
            with path.open("wb") as file:
                file.truncate(item.size or 0)
        self._meter.add(count=sum(end - start for start, end in there))
        arriving = Arriving(path, pieces, there, sums, on_read=self._meter.stir)
        missing: list[Piece | None] = [*arriving.missing]
        return [(item, arriving, piece) for piece in missing or [None]]

    def _work(self, item: Item, arriving: Arriving, piece: Piece | None) -> None:
        if self._stop.is_set():
            return
        takings = None
        with _open_for_writing(arriving.path) as file:
            if piece is None:
                os.ftruncate(file, item.size or 0)
            else:
                takings = self._fetch(item, piece, arriving, file)
        if self._stop.is_set() or not arriving.add(piece, takings):
            return
        try:
            self._source.check(item, arriving.arrived())
        except StorageError as error:
            if error.reason is Reason.CORRUPT_DOWNLOAD:
                self._journal.forget(item)
            raise
        for sum_ in self._also:
            self._sums[item.path] = arriving.arrived().read_sum(sum_).hex()
        self._meter.add(files=1)

    def _fetch(self, item: Item, piece: Piece, arriving: Arriving, file: int) -> Takings:
        """Bring one piece, and sum it. A try that breaks off is taken up where it stopped, if the server can."""
        start, end = piece
        at, takings = start, arriving.begin(start)
        for attempt in range(READ_TRIES):
            try:
                for data in self._read(item, at, end):
                    os.pwrite(file, data, at)
                    for taking in takings.values():
                        taking.update(data)
                    at += len(data)
                    self._meter.add(count=len(data))
                    if self._stop.is_set():
                        return takings
            except StorageError as error:
                if not error.transient or attempt == READ_TRIES - 1:
                    raise
                if not item.ranged:
                    self._meter.add(count=start - at)
                    at, takings = start, arriving.begin(start)
                self._stop.wait(pause_s(attempt))
            else:
                if arriving.is_whole:
                    # An earlier run may have left a longer file of this name.
                    os.ftruncate(file, at)
                self._journal.add(item, piece)
                break
        return takings

    def _read(self, item: Item, start: int, end: int) -> Iterator[Data]:
        """Stream bytes [start, end), no fewer and no more. Raises StorageError."""
        if item.size is None:
            yield from self._source.read(item, start, None)
            return
        at = start
        for data in self._source.read(item, start, end):
            if at + len(data) > end:
                raise too_long(item)
            yield data
            at += len(data)
        if at != end:
            raise ended_early(item, at, end)


def split(item: Item, piece_bytes: int = PIECE_BYTES) -> list[Piece]:
    """Cut a file into [start, end) pieces. A file of unknown size, or from a server without ranges, is one piece."""
    if item.size is None or not item.ranged:
        return [(0, item.size or 0)]
    return [(start, min(start + piece_bytes, item.size)) for start in range(0, item.size, piece_bytes)]


def ended_early(item: Item, got: int, expected: int) -> StorageError:
    """Say that the server hung up before the end. Positions in bytes from the file's start."""
    return StorageError(
        Reason.CORRUPT_DOWNLOAD,
        f"{item.path} breaks off at byte {got} of {expected}, {READ_TRIES} times in a row: look at the limits "
        "of the server, or of the proxy before it, then run this again (it goes on where it stopped)",
        transient=True,
    )


def too_long(item: Item) -> StorageError:
    """Say that the server goes on after the end."""
    return StorageError(
        Reason.CORRUPT_DOWNLOAD,
        f"{item.path} has {item.size} bytes by the server's own listing, and it sends more: run this again; if it "
        "stays, upload the file again",
    )


@contextmanager
def _open_for_writing(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        yield file
    finally:
        os.close(file)
