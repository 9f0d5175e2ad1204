"""Unpacks archives that may be hostile: nothing is written outside the folder, and nothing without bounds."""

import os
import posixpath
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from forebay.serving.storage.archive_members import Kind, Member, read_tar, read_zip
from forebay.serving.storage.errors import Reason, StorageError, show_bytes
from forebay.serving.storage.paths import is_path

MOST_FILES = 20_000
# Weights hardly shrink; text shrinks tenfold. Small archives may be what they like, up to the floor.
MOST_RATIO = 100
FLOOR_BYTES = 64 * 1024 * 1024
_COPY_BYTES = 1024 * 1024
_TAR_ENDINGS = (".tar.gz", ".tgz", ".tar")


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked."""
    return name.lower().endswith((*_TAR_ENDINGS, ".zip"))


def unpack(packed: Path, name: str, into: Path) -> None:
    """Unpack an archive into a folder: an empty one, or one that holds what was unpacked before, and stays.

    Raises StorageError: UnsafeArchive for paths and links that lead out, devices and bombs; CorruptDownload when the
    file isn't the archive that its name says. Raises OSError when the disk doesn't take it.
    """
    reader = read_zip if name.lower().endswith(".zip") else read_tar
    unpacking = _Unpacking(into, name, max(packed.stat().st_size * MOST_RATIO, FLOOR_BYTES))
    try:
        for member in reader(packed):
            unpacking.add(member)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
        raise _not_an_archive(packed, name) from error
    except OSError as error:
        # gzip's BadGzipFile is an OSError without a number; what the disk says has one.
        if error.errno is None:
            raise _not_an_archive(packed, name) from error
        raise
    unpacking.finish()


@dataclass
class _Unpacking:
    into: Path
    name: str
    bytes_left: int
    count: int = 0
    files: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)

    def add(self, member: Member) -> None:
        path = self._safe_path(member)
        self.count += 1
        if self.count > MOST_FILES:
            raise self._unsafe(f"it holds more than {MOST_FILES} files")
        target = self.into / path
        if member.kind is Kind.FOLDER:
            target.mkdir(parents=True, exist_ok=True)
            return
        if path in self.links or os.path.lexists(target):
            raise self._unsafe(f"{path} is there twice")
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.kind is Kind.SYMLINK:
            self.links[path] = self._safe_link(path, member.link)
        elif member.kind is Kind.HARD_LINK:
            self._hard_link(path, member.link)
        else:
            with member.open() as source, target.open("xb") as file:
                self._copy(source, file)
            self.files.add(path)

    def finish(self) -> None:
        # Links come last, so that no file is ever written through one.
        for path, link in self.links.items():
            (self.into / path).symlink_to(link)
        root = self.into.resolve()
        for path in self.links:
            if not (self.into / path).resolve().is_relative_to(root):
                raise self._unsafe(f"the link {path} leads out of it")

    def _safe_path(self, member: Member) -> str:
        parts = member.path.split("/")
        if member.path.startswith("/") or ".." in parts or "\\" in member.path or "\0" in member.path:
            raise self._unsafe(f"{member.path!r} leads out of it")
        if member.kind is Kind.OTHER:
            raise self._unsafe(f"{member.path!r} is a device, a pipe or the like")
        path = posixpath.normpath(member.path)
        if not is_path(path) and path != ".":
            raise self._unsafe(f"it holds {path[:100]!r}, which can't be a file's path")
        if any(path.startswith(f"{link}/") for link in self.links):
            raise self._unsafe(f"{path} lies behind a link")
        if any(parent in self.files for parent in _parents(path)):
            raise self._unsafe(f"{path} lies below a file")
        return path

    def _safe_link(self, path: str, link: str) -> str:
        # `..` only at the front: there it climbs from a real folder; after a name it would climb from wherever a link
        # of that name leads.
        climbing = [part for part in link.split("/") if part not in ("", ".")]
        names = [part for part in climbing if part != ".."]
        climbs = len(climbing) - len(names)
        if link.startswith("/") or climbing[climbs:] != names or climbs > path.count("/"):
            raise self._unsafe(f"the link {path} leads out of it, to {link!r}")
        return link

    def _hard_link(self, path: str, link: str) -> None:
        original = posixpath.normpath(link)
        if original not in self.files:
            raise self._unsafe(f"the link {path} leads to {link!r}, which isn't a file before it")
        os.link(self.into / original, self.into / path)
        self.files.add(path)

    def _copy(self, source: IO[bytes], file: IO[bytes]) -> None:
        while data := source.read(_COPY_BYTES):
            self.bytes_left -= len(data)
            if self.bytes_left < 0:
                raise self._unsafe(f"it unpacks to more than {MOST_RATIO} times its size, which a bomb does")
            free = shutil.disk_usage(self.into).free
            if free < len(data):
                raise StorageError(
                    Reason.DISK_FULL,
                    f"{self.name} does not fit unpacked where {show_bytes(free)} are left: give the volume more space "
                    "(the archive and its files are there together for a while)",
                )
            file.write(data)

    def _unsafe(self, what: str) -> StorageError:
        return StorageError(
            Reason.UNSAFE_ARCHIVE,
            f"{self.name} isn't unpacked, because {what}: make the archive again from the model's folder alone "
            "(tar -czf model.tar.gz -C FOLDER .)",
        )


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _not_an_archive(packed: Path, name: str) -> StorageError:
    with packed.open("rb") as file:
        is_page = file.read(64).lstrip().lower().startswith((b"<!doctype", b"<html"))
    hint = "it is a web page, perhaps one to log in: set HTTPS_TOKEN" if is_page else "make the archive again"
    return StorageError(Reason.CORRUPT_DOWNLOAD, f"{name} isn't a whole archive of the kind that its name says: {hint}")
