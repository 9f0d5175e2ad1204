"""Which pieces of which files have arrived: a file of JSON lines that survives a kill at any moment."""

import json
import threading
from pathlib import Path

from forebay.serving.storage.source import Item

Piece = tuple[int, int]


class Journal:
    """Pieces that are on disk, keyed by file and etag: what belongs to an older version of a file never counts."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier run wrote, and go on appending."""
        self._pieces: dict[str, set[Piece]] = {}
        self._lock = threading.Lock()
        if path.exists():
            for line in path.read_text("utf-8", errors="replace").splitlines():
                self._replay(line)
        self._file = path.open("a", encoding="utf-8")
        # A run that was killed in mid-line must not swallow the first line of this one.
        self._file.write("\n")

    def _replay(self, line: str) -> None:
        try:
            entry = json.loads(line)
            key, piece = str(entry["key"]), entry.get("piece")
            if piece is None:
                self._pieces.pop(key, None)
            else:
                self._pieces.setdefault(key, set()).add((int(piece[0]), int(piece[1])))
        except (ValueError, KeyError, TypeError, AttributeError):
            # A torn line: its piece is fetched again.
            return

    def pieces(self, item: Item) -> set[Piece]:
        """The [start, end) pieces of this version of the file that have arrived."""
        return set(self._pieces.get(_key(item), ()))

    def add(self, item: Item, piece: Piece) -> None:
        """Note a piece, after its bytes were written. What has no size or version is fetched as a whole each time."""
        if item.size is None or not item.etag:
            return
        with self._lock:
            self._pieces.setdefault(_key(item), set()).add(piece)
            self._write({"key": _key(item), "piece": piece})

    def forget(self, item: Item) -> None:
        """Drop a file whose bytes turned out to be wrong."""
        with self._lock:
            self._pieces.pop(_key(item), None)
            self._write({"key": _key(item)})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, entry: dict[str, object]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()


def _key(item: Item) -> str:
    return json.dumps([item.path, item.etag, item.size])
