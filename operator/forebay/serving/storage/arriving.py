"""A file on its way: pieces come in any order, and what is summed while they stream by is put together in the end.

Sums that can't be put together are taken in the file's order, right behind the pieces.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from forebay.serving.storage.checksums import READ_BYTES, Arrived, nobody, start_sum
from forebay.serving.storage.journal import Piece
from forebay.serving.storage.segments import Segment, Segments, can_join, join
from forebay.serving.storage.sums import Sum, Taking

Takings = Mapping[Sum, Taking]


class Arriving:
    """The pieces of one file, and its sums.

    A piece is summed in order by whoever brought the one before its turn: what was written a moment ago is still in
    memory, so that reading it back is a copy and no access to the disk.
    """

    def __init__(
        self,
        path: Path,
        pieces: Iterable[Piece],
        there: set[Piece],
        wanted: Iterable[Sum],
        on_read: Callable[[], None] = nobody,
    ) -> None:
        """`there` are the pieces that an earlier run brought. `on_read` hears that something is read again."""
        self.path, self._on_read = path, on_read
        self._pieces, self._there, self._wanted = [*pieces], there, tuple(dict.fromkeys(wanted))
        joined = [each for each in self._wanted if can_join(each, (start for start, _ in self._pieces))]
        self._segments: dict[Sum, list[Segment]] = {} if self.is_whole else {each: [] for each in joined}
        self._ordered: Takings = {each: start_sum(each) for each in self._wanted if each not in self._segments}
        self._streamed: set[Piece] = set()
        self._next = 0
        self._summing = False
        self._lock = threading.Lock()

    @property
    def missing(self) -> list[Piece]:
        """The pieces that have to be fetched."""
        return [piece for piece in self._pieces if piece not in self._there]

    @property
    def is_whole(self) -> bool:
        """Whether it comes in one piece."""
        return len(self._pieces) <= 1 and not self._there

    def begin(self, start: int) -> Takings:
        """The sums to take of a piece while it streams by; of a piece that is fetched anew from its beginning, too."""
        if self.is_whole:
            self._ordered = {each: start_sum(each) for each in self._wanted}
            return self._ordered
        return {each: Segments(each, start) for each in self._segments}

    def add(self, piece: Piece | None, takings: Takings | None = None) -> bool:
        """Note that a piece is on disk, and what was summed of it. True for the one that completes file and sums."""
        if self.is_whole:
            return True
        with self._lock:
            if piece is not None:
                self._there.add(piece)
            if piece is not None and takings is not None:
                self._keep(piece, takings)
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
        taken = {each: taking.digest() for each, taking in self._ordered.items()}
        taken |= {each: join(each, parts) for each, parts in self._segments.items()}
        return Arrived(self.path, taken, self._on_read)

    def _keep(self, piece: Piece, takings: Takings) -> None:
        self._streamed.add(piece)
        for each, taking in takings.items():
            if isinstance(taking, Segments):
                self._segments[each].extend(taking.taken())

    def _sum(self, piece: Piece) -> None:
        """Read a piece back, for the sums that it isn't part of yet."""
        start, end = piece
        joined = {} if piece in self._streamed else self.begin(start)
        takings = [*self._ordered.values(), *joined.values()]
        if not takings:
            return
        with self.path.open("rb", buffering=0) as file:
            for at in range(start, end, READ_BYTES):
                data = os.pread(file.fileno(), min(READ_BYTES, end - at), at)
                self._on_read()
                for taking in takings:
                    taking.update(data)
        self._keep(piece, joined)
