"""The files of a node by their content. What lies on disk is the truth: it can be looked at by anybody, at any time."""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

_EXECUTABLE = ".x"


@dataclass(frozen=True)
class Stored:
    """A file of the store: its bytes on disk, when it was used last, whether a volume shows it, and its deletion."""

    bytes: int
    used_s: float
    in_use: bool
    drop: Callable[[], int]


class Blobs:
    """Files called by the sha256 of their content, and linked to wherever they are used: a link is a use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Between the look at a file's links and its removal nobody may make one.
        self._lock = threading.Lock()

    def find(self, name: str) -> Path:
        """Where a file lies, if it does."""
        return self._folder / name[:2] / name

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return self.find(name).exists()

    def add(self, file: Path) -> str:
        """Take a file in by a link, and answer its name. From now on it never changes. Raises OSError."""
        # By what was opened, and never by a path that might have become a link meanwhile.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            executable = bool(os.fstat(stream.fileno()).st_mode & stat.S_IXUSR)
            os.fchown(stream.fileno(), os.geteuid(), os.getegid())
            os.fchmod(stream.fileno(), 0o555 if executable else 0o444)
            name = hashlib.file_digest(stream, "sha256").hexdigest() + (_EXECUTABLE if executable else "")
            os.fsync(stream.fileno())
            path = self.find(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                if not path.exists():
                    # Without a folder Python doesn't follow the link; with an absolute path it's of no other use.
                    os.link(f"/proc/self/fd/{stream.fileno()}", path, src_dir_fd=stream.fileno())
                _touch(path)
        return name

    def give_back(self, file: Path) -> None:
        """Let a file's owner write to it again, unless it is in the store: an agent was killed while it took it in."""
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            entry = os.fstat(stream.fileno())
            if stat.S_ISREG(entry.st_mode) and entry.st_nlink == 1:
                os.fchmod(stream.fileno(), stat.S_IMODE(entry.st_mode) | stat.S_IWUSR)

    def link(self, name: str, place: Path) -> None:
        """Show a file at a place of the same disk. Raises FileNotFoundError where it was evicted."""
        with self._lock:
            place.hardlink_to(self.find(name))
            _touch(place)

    def touch(self, name: str) -> None:
        """Note that a file is of use, or was until now."""
        path = self.find(name)
        if path.exists():
            _touch(path)

    def list_stored(self) -> list[Stored]:
        """All files, as the store counts them."""
        found = []
        for path in self._folder.glob("??/*"):
            try:
                entry = path.stat()
            except FileNotFoundError:
                continue
            drop = partial(self.drop, path.name)
            found.append(Stored(entry.st_blocks * 512, entry.st_atime, entry.st_nlink > 1, drop))
        return found

    def drop(self, name: str) -> int:
        """Delete a file, and answer how many bytes are gained: none where a volume shows it."""
        path = self.find(name)
        with self._lock:
            if not path.exists() or (entry := path.stat()).st_nlink > 1:
                return 0
            path.unlink()
        return entry.st_blocks * 512


def digest_of(name: str) -> str:
    """The sha256 of the content of a file of the store."""
    return name.removesuffix(_EXECUTABLE)


def _touch(path: Path) -> None:
    # Not the time of the change, by which servers tell that a model is another.
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
