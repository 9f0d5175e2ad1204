"""Reads tar and zip archives as one kind of member. Nothing here is trusted or written."""

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import IO


class Kind(Enum):
    """What a member of an archive is."""

    FILE = auto()
    FOLDER = auto()
    SYMLINK = auto()
    HARD_LINK = auto()
    OTHER = auto()


def nothing() -> IO[bytes]:
    """What there is to read of a member without bytes: nothing. Raises tarfile.ReadError."""
    raise tarfile.ReadError("a member without bytes")


@dataclass(frozen=True)
class Member:
    """One member. `link` is where a link leads; `open` reads a file's bytes, once, before the next member."""

    path: str
    kind: Kind
    link: str = ""
    open: Callable[[], IO[bytes]] = field(default=nothing, repr=False)


def read_tar(packed: Path) -> Iterator[Member]:
    """Stream a .tar or .tar.gz. Raises tarfile.TarError, EOFError or zlib.error when it is broken."""
    with tarfile.open(packed, "r:*") as tar:
        for info in tar:
            yield Member(info.name, _tar_kind(info), info.linkname, _tar_opener(tar, info))


def read_zip(packed: Path) -> Iterator[Member]:
    """List a .zip. Raises zipfile.BadZipFile when it is broken, RuntimeError when it is encrypted."""
    with zipfile.ZipFile(packed) as archive:
        for info in archive.infolist():
            yield Member(info.filename, _zip_kind(info), "", _zip_opener(archive, info))


def _tar_kind(info: tarfile.TarInfo) -> Kind:
    if info.isdir():
        return Kind.FOLDER
    if info.issym():
        return Kind.SYMLINK
    if info.islnk():
        return Kind.HARD_LINK
    return Kind.FILE if info.isreg() else Kind.OTHER


def _zip_kind(info: zipfile.ZipInfo) -> Kind:
    # Zips made on Unix keep the mode; in them a link is a file that holds its target. Nobody packs models so.
    mode = info.external_attr >> 16
    if info.is_dir():
        return Kind.FOLDER
    return Kind.FILE if stat.S_IFMT(mode) in (0, stat.S_IFREG) else Kind.OTHER


def _tar_opener(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    def open_member() -> IO[bytes]:
        return tar.extractfile(info) or nothing()

    return open_member


def _zip_opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: archive.open(info)
