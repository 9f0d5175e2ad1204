"""Layers as blobs: a tar, compressed, with both digests computed while it is written."""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from forebay.build.image import TAR_GZIP, Descriptor
from forebay.build.tree import Tree, write_tar

_LEVEL = 6
_READ_BYTES = 256 * 1024
# zlib writes gzip's header itself: with no name and no time.
_GZIP = 16 + zlib.MAX_WBITS


class Layer(NamedTuple):
    """A layer of our own: what the manifest says of it, the digest of its tar, and where it lies."""

    descriptor: Descriptor
    diff_id: str
    path: Path


class _GzipWriter:
    """A file that is compressed and hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self.plain, self.packed, self.size = hashlib.sha256(), hashlib.sha256(), 0

    def write(self, data: bytes, /) -> int:
        self.plain.update(data)
        self._put(self._packer.compress(data))
        return len(data)

    def finish(self) -> None:
        self._put(self._packer.flush())

    def _put(self, data: bytes) -> None:
        self.packed.update(data)
        self.size += len(data)
        self._file.write(data)


def read_file(path: Path) -> Iterator[bytes]:
    """A file's bytes, piece by piece."""
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            yield data


def pack_layer(tree: Tree, path: Path) -> Layer:
    """Write a tree as a layer to `path`.

    The digest of its tar follows from the tree alone; that of what is pushed from zlib's version, too.
    """
    with path.open("wb") as file:
        writer = _GzipWriter(file)
        write_tar(writer, tree)
        writer.finish()
    descriptor = Descriptor(TAR_GZIP, f"sha256:{writer.packed.hexdigest()}", writer.size)
    return Layer(descriptor, f"sha256:{writer.plain.hexdigest()}", path)
