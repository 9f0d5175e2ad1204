"""Which pieces of which files have arrived: a file of JSON lines that survives a kill at any moment."""

import json
import threading
from pathlib import Path

from forebay.serving.storage.source import Item

Piece = tuple[int, int]
# Another after each start of the machine; only Linux has it.
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """Pieces that are on disk, keyed by file and etag: what belongs to an older version of a file never counts.

    What was written before the machine went down may not have reached the disk, though its line here did.
    """

    def __init__(self, path: Path) -> None:
        """Read what an earlier run wrote, and go on appending."""
        # In which run of the machine each was written.
        self._pieces: dict[str, dict[Piece, str]] = {}
        self._boot = ""
        self._lock = threading.Lock()
        if path.exists():
            for line in path.read_text("utf-8", errors="replace").splitlines():
                self._replay(line)
        self._file = path.open("a", encoding="utf-8")
        # A run that was killed in mid-line must not swallow the first line of this one.
        self._boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else ""
        self._file.write("\n")
        self._write({"boot": self._boot})

    def _replay(self, line: str) -> None:
        try:
            entry = json.loads(line)
            if "boot" in entry:
                self._boot = str(entry["boot"])
                return
            key, piece = str(entry["key"]), entry.get("piece")
            if piece is None:
                self._pieces.pop(key, None)
            else:
                self._pieces.setdefault(key, {})[int(piece[0]), int(piece[1])] = self._boot
        except (ValueError, KeyError, TypeError, AttributeError):
            # A torn line: its piece is fetched again.
            return

    def pieces(self, item: Item, *, is_checked: bool = True) -> set[Piece]:
        """The [start, end) pieces of this version of the file that have arrived; for sure, where it isn't checked."""
        known = self._pieces.get(_key(item), {})
        return {piece for piece, boot in known.items() if is_checked or boot == self._boot}

    def add(self, item: Item, piece: Piece) -> None:
        """Note a piece, after its bytes were written. What has no size or version is fetched as a whole each time."""
        if item.size is None or not item.etag:
            return
        with self._lock:
            self._pieces.setdefault(_key(item), {})[piece] = self._boot
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
