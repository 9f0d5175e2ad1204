"""An image that was made, into a registry or a file: the base's blobs go from registry to registry."""

import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from forebay.build.base import BaseImage
from forebay.build.build import Image
from forebay.build.errors import BuildError
from forebay.build.image import INDEX, Descriptor, Document, write_document
from forebay.build.layers import Layer, read_file
from forebay.build.registry import Target
from forebay.serving.storage.errors import StorageError

OnBytes = Callable[[int], None]
_AT_ONCE = 4


@dataclass
class Sent:
    """What a push came to, in bytes."""

    uploaded: int = 0
    mounted: int = 0
    there: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, what: str, size: int) -> None:
        """Count a blob. Called from several threads."""
        with self._lock:
            setattr(self, what, getattr(self, what) + size)


def push(image: Image, source: BaseImage, target: Target, *, tag: str, on_bytes: OnBytes) -> Sent:
    """Push what the registry lacks: blobs, then what refers to them, the tag last. Raises BuildError."""
    sent = Sent()

    def send(blob: Descriptor, content: Layer | bytes | None) -> None:
        if target.has(blob.digest):
            sent.add("there", blob.size)
        elif content is None and target.mount(blob.digest):
            sent.add("mounted", blob.size)
        else:
            target.upload(blob, lambda: read(blob, content, source))
            sent.add("uploaded", blob.size)
        on_bytes(blob.size)

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for done in [pool.submit(send, blob, content) for blob, content in image.blobs.items()]:
                done.result()
        for document in image.documents:
            target.put(document, document.descriptor.digest)
        target.put(image.top, tag)
    except StorageError as error:
        raise BuildError(error.message, passing=error.transient) from error
    return sent


def read(blob: Descriptor, content: Layer | bytes | None, source: BaseImage) -> Iterator[bytes]:
    """The bytes of a blob, from wherever they are."""
    if content is None:
        yield from source.read(blob)
    elif isinstance(content, bytes):
        yield content
    else:
        yield from read_file(content.path)


def write_layout(image: Image, source: BaseImage, path: Path, *, name: str, on_bytes: OnBytes) -> None:
    """An OCI layout with all blobs: a tar where `path` ends in .tar, otherwise a folder. Raises BuildError."""
    entry = image.top.descriptor.build(annotations={"org.opencontainers.image.ref.name": name} if name else {})
    index = write_document(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    files = {"oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(), "index.json": index.body}
    blobs = sorted(image.blobs.items(), key=lambda each: each[0].digest)
    put = _write_tar if path.suffix == ".tar" else _write_folder
    streams = ((blob, _counted(read(blob, content, source), on_bytes)) for blob, content in blobs)
    try:
        put(path, files, image.documents, streams)
    except StorageError as error:
        raise BuildError(f"the base can't be had: {error.message}", passing=error.transient) from error


def _counted(chunks: Iterator[bytes], on_bytes: OnBytes) -> Iterator[bytes]:
    for data in chunks:
        on_bytes(len(data))
        yield data


Blobs = Iterable[tuple[Descriptor, Iterator[bytes]]]


def _write_folder(path: Path, files: dict[str, bytes], documents: list[Document], blobs: Blobs) -> None:
    folder = path / "blobs/sha256"
    folder.mkdir(parents=True, exist_ok=True)
    for blob, chunks in blobs:
        with (folder / blob.digest.removeprefix("sha256:")).open("wb") as file:
            for data in chunks:
                file.write(data)
    for document in documents:
        (folder / document.descriptor.digest.removeprefix("sha256:")).write_bytes(document.body)
    for name, body in files.items():
        (path / name).write_bytes(body)


def _write_tar(path: Path, files: dict[str, bytes], documents: list[Document], blobs: Blobs) -> None:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, body in files.items():
            tar.addfile(_member(name, len(body)), io.BytesIO(body))
        for document in documents:
            tar.addfile(_member(_find_place(document.descriptor), len(document.body)), io.BytesIO(document.body))
        for blob, chunks in blobs:
            tar.addfile(_member(_find_place(blob), blob.size), io.BufferedReader(_Stream(chunks)))


def _find_place(blob: Descriptor) -> str:
    return "blobs/" + blob.digest.replace(":", "/")


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


class _Stream(io.RawIOBase):
    """Chunks as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            data = next(self._chunks, None)
            if data is None:
                return 0
            self._rest = data
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
