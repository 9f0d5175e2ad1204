"""The download itself: bounded workers, ranged pieces, retries, and a check of every file."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.journal import Journal, Piece
from forebay.serving.storage.progress import Meter
from forebay.serving.storage.retry import READ_TRIES, pause_s
from forebay.serving.storage.source import Item, Listing, Source

WORKERS = 8
PIECE_BYTES = 8 * 1024 * 1024


class Download:
    """Brings the files of one listing into one folder. Holds a network buffer per worker, never a whole file."""

    def __init__(self, source: Source, folder: Path, journal: Journal, meter: Meter) -> None:
        self._source, self._folder, self._journal, self._meter = source, folder, journal, meter
        self._missing: dict[str, int] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def run(self, listing: Listing) -> None:
        """Fetch what isn't there yet. Raises the first StorageError or OSError, after every worker has stopped."""
        work: list[tuple[Item, Piece | None]] = []
        for item in listing.items:
            pieces = self._prepare(item)
            self._missing[item.path] = len(pieces)
            work += [(item, piece) for piece in pieces] or [(item, None)]
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="download") as pool:
            futures = [pool.submit(self._work, item, piece) for item, piece in work]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
        failed = [error for future in done if (error := future.exception()) is not None]
        if failed:
            raise failed[0]

    def _prepare(self, item: Item) -> list[Piece]:
        """Make the file at its full size, and name the pieces that are missing."""
        path = self._folder / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        there = self._journal.pieces(item) & set(split(item)) if path.is_file() else set()
        with path.open("r+b" if there else "wb") as file:
            file.truncate(item.size or 0)
        self._meter.add(count=sum(end - start for start, end in there))
        return [piece for piece in split(item) if piece not in there]

    def _work(self, item: Item, piece: Piece | None) -> None:
        if self._stop.is_set():
            return
        if piece is not None:
            with _open_for_writing(self._folder / item.path) as file:
                self._fetch(item, piece, file)
            if self._stop.is_set():
                return
            with self._lock:
                self._missing[item.path] -= 1
                if self._missing[item.path]:
                    return
        self._finish(item)

    def _fetch(self, item: Item, piece: Piece, file: int) -> None:
        """Bring one piece. A try that breaks off is taken up where it stopped, if the server can."""
        start, end = piece
        at = start
        for attempt in range(READ_TRIES):
            try:
                for data in self._source.read(item, at, end if item.size is not None else None):
                    os.pwrite(file, data, at)
                    at += len(data)
                    self._meter.add(count=len(data))
                    if self._stop.is_set():
                        return
                if item.size is not None and at != end:
                    raise ended_early(item, at, end)
            except StorageError as error:
                if not error.transient or attempt == READ_TRIES - 1:
                    raise
                if not item.ranged:
                    self._meter.add(count=start - at)
                    at = start
                self._stop.wait(pause_s(attempt))
            else:
                os.ftruncate(file, at) if item.size is None else self._journal.add(item, piece)
                return

    def _finish(self, item: Item) -> None:
        """Check what lies on disk, which also catches pieces that a crashed machine never wrote."""
        path = self._folder / item.path
        try:
            self._source.check(item, path)
        except StorageError as error:
            if error.reason is Reason.CORRUPT_DOWNLOAD:
                self._journal.forget(item)
            raise
        with _open_for_writing(path) as file:
            os.fsync(file)
        self._meter.add(files=1)


def split(item: Item) -> list[Piece]:
    """Cut a file into [start, end) pieces. A file of unknown size, or from a server without ranges, is one piece."""
    if item.size is None or not item.ranged:
        return [(0, item.size or 0)]
    return [(start, min(start + PIECE_BYTES, item.size)) for start in range(0, item.size, PIECE_BYTES)]


def ended_early(item: Item, got: int, expected: int) -> StorageError:
    """Say that the server hung up before the end. Positions in bytes from the file's start."""
    return StorageError(
        Reason.CORRUPT_DOWNLOAD,
        f"{item.path} breaks off at byte {got} of {expected}, {READ_TRIES} times in a row: look at the limits "
        "of the server, or of the proxy before it, then run this again (it goes on where it stopped)",
        transient=True,
    )


@contextmanager
def _open_for_writing(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_WRONLY)
    try:
        yield file
    finally:
        os.close(file)
