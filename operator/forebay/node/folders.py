"""Folders of many small files, kept whole: each by a name, and linked file by file to wherever it is used.

By their content, as models are, thousands of files would be hashed, and looked at whenever the disk is measured.
"""

import ctypes
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from forebay.node.blobs import Stored
from forebay.node.catalog import Model
from forebay.node.trees import write_json
from forebay.serving.storage.place import MANIFEST

_TREE, _ABOUT = "tree", "about.json"
_libc = ctypes.CDLL(None, use_errno=True)


class Folders:
    """Folders under one that is their own. Each has a file MANIFEST, whose links tell whether the folder is in use."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Between the look at a folder's links and its removal nobody may make one.
        self._lock = threading.Lock()

    def has(self, name: str) -> bool:
        """Whether it is there, whole."""
        return (self._root / name).exists()

    def add(self, name: str, tree: Path, title: str) -> int:
        """Take a folder of the same disk, and answer its size. From now on it never changes. Raises OSError."""
        new = self._root / f".{name}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        _seal(tree)
        size = measure(tree)
        tree.rename(new / _TREE)
        write_json(new / _ABOUT, {"title": title, "bytes": size})
        # Before it has its name, whatever happens to the machine.
        _sync(new)
        new.rename(self._root / name)
        return size

    def link(self, name: str, into: Path) -> int:
        """Show a folder at a place that isn't there yet, and answer its size. Raises FileNotFoundError if evicted."""
        tree = self._root / name / _TREE
        into.mkdir()
        with self._lock:
            # From here on it is in use.
            (into / MANIFEST).hardlink_to(tree / MANIFEST)
            self.touch(name)
        for folder, names, files in os.walk(tree):
            place = into / Path(folder).relative_to(tree)
            for each in names + files:
                path = Path(folder, each)
                if path.is_symlink():
                    (place / each).symlink_to(path.readlink())
                elif each in names:
                    (place / each).mkdir()
                elif path != tree / MANIFEST:
                    (place / each).hardlink_to(path)
        return self._read(name)[1]

    def touch(self, name: str) -> None:
        """Note that a folder is of use, or was until now."""
        with suppress(FileNotFoundError):
            os.utime(self._root / (name or ".") / _ABOUT)

    def list_stored(self) -> list[Stored]:
        """All folders, as the store counts them."""
        found = []
        for path in self._list():
            with suppress(FileNotFoundError):  # it was dropped just now
                in_use = (path / _TREE / MANIFEST).stat().st_nlink > 1
                used_s, size = (path / _ABOUT).stat().st_mtime, self._read(path.name)[1]
                found.append(Stored(size, used_s, in_use, partial(self.drop, path.name)))
        return found

    def list_models(self) -> list[Model]:
        """The same as people know them."""
        found = []
        for path in self._list():
            with suppress(FileNotFoundError):
                title, size = self._read(path.name)
                found.append(Model(path.name, title, "", size, int((path / _ABOUT).stat().st_mtime)))
        return found

    def drop(self, name: str) -> int:
        """Delete one, and answer how many bytes are gained: none where somebody uses it."""
        gone = self._root / f".{name}"
        with self._lock:
            if not self.has(name) or (self._root / name / _TREE / MANIFEST).stat().st_nlink > 1:
                return 0
            size = self._read(name)[1]
            shutil.rmtree(gone, ignore_errors=True)
            (self._root / name).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return size

    def open(self) -> None:
        """Make it, and delete what an agent before left half way."""
        self._root.mkdir(parents=True, exist_ok=True)
        for path in self._root.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def _list(self) -> Iterator[Path]:
        return (path for path in self._root.glob("*") if not path.name.startswith("."))

    def _read(self, name: str) -> tuple[str, int]:
        about = json.loads((self._root / name / _ABOUT).read_text("utf-8"))
        return str(about["title"]), int(about["bytes"])


def measure(folder: Path) -> int:
    """Bytes on disk under a folder, each file once, less those that have links elsewhere: others count them."""
    size = 0
    links: dict[int, int] = {}
    for path in folder.rglob("*"):
        try:
            entry = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(entry.st_mode):
            continue
        links[entry.st_ino] = links.get(entry.st_ino, 0) + 1
        size += entry.st_blocks * 512 if links[entry.st_ino] == entry.st_nlink else 0
    return size


def _seal(tree: Path) -> None:
    """Make all of it root's, for everybody to read, and for nobody to write."""
    owner, group = os.geteuid(), os.getegid()
    for _, folders, files, descriptor in os.fwalk(tree):
        os.fchown(descriptor, owner, group)
        os.fchmod(descriptor, 0o755)
        for name in folders + files:
            os.chown(name, owner, group, dir_fd=descriptor, follow_symlinks=False)
        for name in files:
            mode = os.lstat(name, dir_fd=descriptor).st_mode
            if stat.S_ISREG(mode):
                os.chmod(name, 0o555 if mode & stat.S_IXUSR else 0o444, dir_fd=descriptor)


def _sync(folder: Path) -> None:
    """Bring the whole file system to the disk: thousands of files one by one take longer. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _libc.syncfs(descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)
