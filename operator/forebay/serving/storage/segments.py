"""Sums of a file that arrives in pieces, each summed while it streams by: they are put together in the end."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forebay.serving.storage.crc import CRCS, Data
from forebay.serving.storage.sums import Sum, Taking, start_plain

PIECE_BYTES = 8 * 1024 * 1024
MOST_PIECE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch [start, end) of a file that lies in one part of its sum."""

    start: int
    end: int
    digest: bytes


class Segments:
    """A sum that is being taken of a stretch of a file, cut where the sum's parts are."""

    def __init__(self, wanted: Sum, start: int = 0) -> None:
        """`start`: where in the file the first byte lies."""
        self._wanted, self._from, self._at = wanted, start, start
        self._done: list[Segment] = []
        self._taking: Taking = start_plain(wanted.algorithm)

    def update(self, data: Data) -> None:
        """Go on with the next bytes."""
        view, part_bytes = memoryview(data), self._wanted.part_bytes or sys.maxsize
        while view:
            room = (self._from // part_bytes + 1) * part_bytes - self._at
            if not room:
                self._done = self.taken()
                self._from, self._taking = self._at, start_plain(self._wanted.algorithm)
                continue
            self._taking.update(view[:room])
            self._at += min(room, len(view))
            view = view[room:]

    def taken(self) -> list[Segment]:
        """What it is so far."""
        return [*self._done, Segment(self._from, self._at, self._taking.digest())]

    def digest(self) -> bytes:
        """The sum, of a stretch that is the whole file."""
        return join(self._wanted, self.taken())


def can_join(wanted: Sum, starts: Iterable[int]) -> bool:
    """Whether a sum can be put together from pieces that begin there."""
    if wanted.beginning:
        return False
    return wanted.algorithm in CRCS or (wanted.part_bytes > 0 and not any(at % wanted.part_bytes for at in starts))


def choose_piece_bytes(wanted: Iterable[Sum]) -> int:
    """Size of pieces whose sums can be put together, where parts aren't too large for that."""
    for each in wanted:
        if each.algorithm not in CRCS and 0 < each.part_bytes <= MOST_PIECE_BYTES:
            return -(-PIECE_BYTES // each.part_bytes) * each.part_bytes
    return PIECE_BYTES


def join(wanted: Sum, segments: Iterable[Segment]) -> bytes:
    """The sum of a file, from all of its segments."""
    parts: dict[int, list[Segment]] = {}
    for each in sorted(segments, key=lambda segment: segment.start):
        parts.setdefault(each.start // wanted.part_bytes if wanted.part_bytes else 0, []).append(each)
    digests = [_join_part(wanted.algorithm, part) for part in parts.values()]
    if not wanted.part_bytes:
        return digests[0]
    whole = start_plain(wanted.algorithm)
    for digest in digests:
        whole.update(digest)
    return whole.digest()


def _join_part(algorithm: str, segments: Sequence[Segment]) -> bytes:
    if len(segments) == 1:
        return segments[0].digest
    crc, value = CRCS[algorithm], 0
    for each in segments:
        value = crc.join(value, int.from_bytes(each.digest, "big"), each.end - each.start)
    return value.to_bytes(crc.bits // 8, "big")
