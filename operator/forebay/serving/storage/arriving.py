"""A file on its way: pieces come in any order, sums are taken in the file's order, right behind them."""

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from forebay.serving.storage.checksums import READ_BYTES, Arrived, Sum, Taking, start_sum
from forebay.serving.storage.journal import Piece


class Arriving:
    """The pieces of one file, and its sums.

    A piece is summed by whoever brought the one before its turn: what was written a moment ago is still in memory, so
    that reading it back is a copy and no access to the disk.
    """

    def __init__(self, path: Path, pieces: Iterable[Piece], there: set[Piece], wanted: Iterable[Sum]) -> None:
        """`there` are the pieces that an earlier run brought."""
        self.path = path
        self._pieces, self._there, self._wanted = [*pieces], there, tuple(dict.fromkeys(wanted))
        self._taken: Mapping[Sum, Taking] = {}
        self._next = 0
        self._summing = False
        self._lock = threading.Lock()
        self.restart()

    @property
    def missing(self) -> list[Piece]:
        """The pieces that have to be fetched."""
        return [piece for piece in self._pieces if piece not in self._there]

    @property
    def is_whole(self) -> bool:
        """Whether it comes in one piece, which is summed as it streams by."""
        return len(self._pieces) <= 1 and not self._there

    def restart(self) -> None:
        """Forget the sums, as a file is fetched from its beginning again."""
        self._taken = {wanted: start_sum(wanted) for wanted in self._wanted}

    def update(self, data: bytes) -> None:
        """Sum the next bytes of a file that comes in one piece."""
        for taking in self._taken.values():
            taking.update(data)

    def add(self, piece: Piece | None) -> bool:
        """Note that a piece is on disk. True for the one after which the file and its sums are complete."""
        if self.is_whole:
            return True
        with self._lock:
            if piece is not None:
                self._there.add(piece)
            if self._summing:
                return False  # whoever sums now sees this piece too
            self._summing = True
        while True:
            with self._lock:
                if self._next == len(self._pieces):
                    return True
                turn = self._pieces[self._next]
                if turn not in self._there:
                    self._summing = False
                    return False
                self._next += 1
            self._sum(turn)

    def arrived(self) -> Arrived:
        """What it has become."""
        return Arrived(self.path, self._taken)

    def _sum(self, piece: Piece) -> None:
        if not self._taken:
            return
        start, end = piece
        with self.path.open("rb", buffering=0) as file:
            for at in range(start, end, READ_BYTES):
                self.update(os.pread(file.fileno(), min(READ_BYTES, end - at), at))
