"""Layers, made once: each is a tar that is the same whenever its content is."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cluster_tool.places import CACHE
from cluster_tool.speech import step

from forebay.build import tree
from forebay.build.tree import Tree

LAYERS = CACHE / "image-layers"
# A layer that no build used for this long is removed: each change of uv.lock leaves some 400 MB.
UNUSED_S = 3 * 24 * 3600
SOURCES = Path(__file__).parent


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
    key = hash_text(layer.key, hash_files(SOURCES, makers), hash_file(Path(tree.__file__)))[:16]
    found = next(LAYERS.glob(f"{layer.name}-{key}-*.tar"), None)
    if found is None:
        with step(f"layer {layer.name}"):
            content = layer.build()
            made = LAYERS / f".{layer.name}.{os.getpid()}"
            try:
                with made.open("wb") as written:
                    writer = HashingWriter(written)
                    tree.write_tar(writer, content)
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
