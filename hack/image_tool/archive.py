"""Images as a file, both OCI layout and docker-archive: `ctr images import`, kind and `docker load` take it."""

import io
import json
import tarfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from forebay.build.image import TAR, Descriptor, Document, build_manifest
from image_tool.layers import BuiltLayer


class BuiltImage(NamedTuple):
    name: str
    # What pods say.
    reference: str
    # By the content: a node that has this needs nothing more.
    exact: str
    config: Document
    layers: list[BuiltLayer]

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)

    @property
    def descriptors(self) -> list[Descriptor]:
        return [Descriptor(TAR, f"sha256:{layer.digest}", layer.size) for layer in self.layers]

    @property
    def manifest(self) -> Document:
        return build_manifest(self.config.descriptor, self.descriptors)


def write_archive(archive: Path, images: Iterable[BuiltImage], *, known: Collection[str] = ()) -> None:
    """The images, less the layers that whoever gets it knows already (by digest: sha256:...)."""
    index, docker, written = [], [], set(known)
    with tarfile.open(archive, mode="w") as tar:
        add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        for image in images:
            for layer in image.layers:
                if f"sha256:{layer.digest}" not in written:
                    written.add(f"sha256:{layer.digest}")
                    header = tarfile.TarInfo(f"blobs/sha256/{layer.digest}")
                    header.size = layer.size
                    with layer.archive.open("rb") as source:
                        tar.addfile(header, source)
            config, manifest = image.config.descriptor, image.manifest
            for document in (image.config, manifest):
                add(tar, find_blob(document.descriptor), document.body)
            tags = list(dict.fromkeys([image.exact, image.reference]))
            index += [manifest.descriptor.build(annotations={"io.containerd.image.name": tag}) for tag in tags]
            paths = [find_blob(each) for each in image.descriptors]
            docker.append({"Config": find_blob(config), "RepoTags": tags, "Layers": paths})
        add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode())
        add(tar, "manifest.json", json.dumps(docker).encode())


def find_blob(described: Descriptor) -> str:
    return "blobs/" + described.digest.replace(":", "/")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    tar.addfile(header, io.BytesIO(content))
