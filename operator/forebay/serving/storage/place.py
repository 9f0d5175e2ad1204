"""The folder that a download ends in, and what lies beside it while it isn't complete."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay.serving.storage.content import read_digest
from forebay.serving.storage.errors import Reason, StorageError, disk_full
from forebay.serving.storage.source import Listing

MANIFEST = ".forebay.json"
# What a file system keeps for itself, and for the small files of whoever else writes there.
SPARE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Place:
    """The paths of one download: `dest`, and beside it (same file system, so that a rename is atomic) the rest."""

    dest: Path

    @property
    def partial(self) -> Path:
        """Where an unfinished download lies."""
        return self.dest.with_name(self.dest.name + ".partial")

    @property
    def tree(self) -> Path:
        """What becomes `dest`."""
        return self.partial / "tree"

    @property
    def packed(self) -> Path:
        """Where an archive lies before it is unpacked."""
        return self.partial / "packed"

    @property
    def journal(self) -> Path:
        """Which pieces have arrived."""
        return self.partial / "journal"

    @property
    def replaced(self) -> Path:
        """The version before, for the moment of the switch."""
        return self.dest.with_name(self.dest.name + ".replaced")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of this place; wait for one that is there already."""
        if self.dest.is_mount():
            raise StorageError(
                Reason.NOT_WRITABLE,
                f"{self.dest} is a mount point, which can't be switched: name a folder inside it, {self.dest}/model",
            )
        self.dest.parent.mkdir(parents=True, exist_ok=True)
        with self.dest.with_name(self.dest.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def is_current(self, uri: str, listing: Listing) -> bool:
        """Whether `dest` holds just what the source lists now: same address, etags and sizes, every file there."""
        manifest = self._read_manifest()
        return bool(
            manifest.get("source") == _fingerprint(uri, listing)
            # An empty etag: the server gives nothing to tell versions apart by.
            and all(item.etag for item in listing.items)
            and manifest.get("files") == sizes_of(self.dest)
        )

    def read_digest(self) -> str:
        """The digest of the content of `dest`: read from the files once, and then remembered."""
        manifest = self._read_manifest()
        if not manifest.get("digest"):
            manifest["digest"] = read_digest(self.dest)
            new = self.dest / f"{MANIFEST}.new"
            _write(new, manifest)
            new.replace(self.dest / MANIFEST)
        return str(manifest["digest"])

    def _read_manifest(self) -> dict[str, Any]:
        try:
            manifest = json.loads((self.dest / MANIFEST).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return manifest if isinstance(manifest, dict) else {}

    def check_space(self, listing: Listing) -> None:
        """Raise DiskFull before a download that can't end well. What an earlier run wrote is counted."""
        if listing.total is None:
            return
        written = sum(
            file.stat().st_blocks * 512 for file in self.partial.rglob("*") if file.is_file() and not file.is_symlink()
        )
        need, have = listing.total - written, shutil.disk_usage(self.dest.parent).free
        if need > max(have - SPARE_BYTES, 0):
            raise disk_full(self.dest.parent, need, have)

    def switch(self, uri: str, listing: Listing, *, digest: str = "") -> int:
        """Put the complete tree in `dest`'s place, and answer its size in bytes. `digest` is remembered, if known."""
        for folder in listing.folders:
            (self.tree / folder).mkdir(parents=True, exist_ok=True)
        files = sizes_of(self.tree)
        self.finish({"source": _fingerprint(uri, listing), "files": files, "digest": digest})
        return sum(files.values())

    def finish(self, manifest: dict[str, Any]) -> None:
        """Put the complete tree in `dest`'s place, with what it is in MANIFEST, and delete the rest. Raises OSError."""
        _write(self.tree / MANIFEST, manifest)
        shutil.rmtree(self.replaced, ignore_errors=True)
        if self.dest.exists():
            self.dest.rename(self.replaced)
        self.tree.rename(self.dest)
        shutil.rmtree(self.replaced, ignore_errors=True)
        shutil.rmtree(self.partial, ignore_errors=True)


def _write(path: Path, manifest: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())


def sizes_of(folder: Path) -> dict[str, int]:
    """Sizes in bytes of all files under a folder, the manifest left out."""
    files = {str(file.relative_to(folder)): file.lstat().st_size for file in folder.rglob("*") if not file.is_dir()}
    files.pop(MANIFEST, None)
    return dict(sorted(files.items()))


def drop_strangers(folder: Path, listing: Listing) -> None:
    """Delete files of an earlier, different listing."""
    wanted = {item.path for item in listing.items}
    for file in [file for file in folder.rglob("*") if not file.is_dir()]:
        if str(file.relative_to(folder)) not in wanted:
            file.unlink()
    for empty in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            empty.rmdir()


def _fingerprint(uri: str, listing: Listing) -> str:
    # A hash, because an address may hold a signature.
    facts = [uri, *sorted((item.path, item.size, item.etag) for item in listing.items), *sorted(listing.folders)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
