"""Layers: what lies where in an image, as a tar that is the same whenever its content is."""

import hashlib
import io
import os
import stat
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from cluster_tool.places import CACHE
from cluster_tool.speech import step

LAYERS = CACHE / "image-layers"
# A layer that no build used for this long is removed: each change of uv.lock leaves some 400 MB.
UNUSED_S = 3 * 24 * 3600
SOURCES = Path(__file__).parent


class Link(NamedTuple):
    target: str


class Folder(NamedTuple):
    mode: int


# By path in the image. Folders above are made as they are needed.
Tree = Mapping[str, Path | bytes | Link | Folder]


class Layer(NamedTuple):
    name: str
    # What the content follows from: the same key, the same layer.
    key: str
    build: Callable[[], Tree]


class BuiltLayer(NamedTuple):
    archive: Path
    digest: str
    size: int


def hash_text(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def hash_files(root: Path, files: Iterable[Path]) -> str:
    return hash_text(*(f"{path.relative_to(root)}:{hash_file(path)}" for path in sorted(files)))


def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ensure_layer(layer: Layer) -> BuiltLayer:
    """The layer's tar, made unless it is there; its name carries its digest."""
    LAYERS.mkdir(parents=True, exist_ok=True)
    # How a layer is made is part of what it follows from.
    makers = [path for path in SOURCES.glob("*.py") if path.stem not in {"__main__", "archive"}]
    key = hash_text(layer.key, hash_files(SOURCES, makers))[:16]
    found = next(LAYERS.glob(f"{layer.name}-{key}-*.tar"), None)
    if found is None:
        with step(f"layer {layer.name}"):
            tree = layer.build()
            made = LAYERS / f".{layer.name}.{os.getpid()}"
            try:
                with made.open("wb") as written:
                    writer = HashingWriter(written)
                    write_tar(writer, tree)
                found = LAYERS / f"{layer.name}-{key}-{writer.digest.hexdigest()}.tar"
                made.rename(found)
            finally:
                made.unlink(missing_ok=True)
    os.utime(found)
    return BuiltLayer(found, found.stem.rpartition("-")[2], found.stat().st_size)


def forget_unused() -> None:
    oldest = time.time() - UNUSED_S
    for path in LAYERS.iterdir():
        if path.stat().st_mtime < oldest:
            path.unlink()


class HashingWriter:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)


def write_tar(file: HashingWriter, tree: Tree) -> None:
    folders: set[str] = set()
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as tar:
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


def build_member(name: str, content: Path | bytes | Link | Folder) -> tarfile.TarInfo:
    """Root's, and of no time: what is in a layer is for reading."""
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
