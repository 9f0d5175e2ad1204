"""What lies where in an image, as a tar that is the same whenever its content is."""

import io
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol


class Link(NamedTuple):
    """A symbolic link."""

    target: str


class Folder(NamedTuple):
    """A folder that is there though nothing need lie in it."""

    mode: int


# By path in the image. Folders above are made as they are needed.
Content = Path | bytes | Link | Folder
Tree = Mapping[str, Content]


class Writer(Protocol):
    """Where a tar is written to."""

    def write(self, data: bytes, /) -> int:
        """Take the next bytes."""


def place(files: Mapping[str, Path], where: str) -> dict[str, Path]:
    """Files below a folder of the image."""
    return {f"{where}/{name}": path for name, path in files.items()}


def write_tar(file: Writer, tree: Tree) -> None:
    """The tree as an uncompressed tar: sorted, root's, of no time, with no extended headers."""
    folders: set[str] = set()
    # GNU's own extensions for long names hold nothing but the name.
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:  # type: ignore[call-overload]
        for name, content in sorted(tree.items()):
            for parent in reversed(PurePosixPath(name).parents[:-1]):
                if str(parent) not in folders and str(parent) not in tree:
                    folders.add(str(parent))
                    tar.addfile(build_member(str(parent), Folder(0o755)))
            member = build_member(name, content)
            if isinstance(content, Path):
                with content.open("rb") as source:
                    tar.addfile(member, source)
            else:
                tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)


def build_member(name: str, content: Content) -> tarfile.TarInfo:
    """Root's, and of no time: what is in a layer is for reading. Of a file's mode only counts whether it is run."""
    member = tarfile.TarInfo(name.lstrip("/"))
    if isinstance(content, Folder):
        member.type, member.mode = tarfile.DIRTYPE, content.mode
    elif isinstance(content, Link):
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, content.target, 0o777
    elif isinstance(content, bytes):
        member.size, member.mode = len(content), 0o755 if content.startswith(b"#!") else 0o644
    else:
        found = content.stat()
        member.size, member.mode = found.st_size, 0o755 if found.st_mode & stat.S_IXUSR else 0o644
    return member
