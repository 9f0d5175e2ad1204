"""Images as a file, both OCI layout and docker-archive: `ctr images import`, kind and `docker load` take it."""

import io
import json
import tarfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from image_tool.layers import BuiltLayer, hash_text

PREFIX = "application/vnd.oci.image"


class BuiltImage(NamedTuple):
    name: str
    # What pods say.
    reference: str
    # By the content: a node that has this needs nothing more.
    exact: str
    config: bytes
    layers: list[BuiltLayer]

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


def write_archive(archive: Path, images: Iterable[BuiltImage], *, known: Collection[str] = ()) -> None:
    """The images, less the layers that whoever gets it knows already (by digest: sha256:...)."""
    index, docker, written = [], [], set(known)
    with tarfile.open(archive, mode="w") as tar:
        add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}))
        for image in images:
            for layer in image.layers:
                if f"sha256:{layer.digest}" not in written:
                    written.add(f"sha256:{layer.digest}")
                    header = tarfile.TarInfo(f"blobs/sha256/{layer.digest}")
                    header.size = layer.size
                    with layer.archive.open("rb") as source:
                        tar.addfile(header, source)
            config = add_blob(tar, image.config.decode(), "config.v1+json")
            described = [describe("layer.v1.tar", layer.digest, layer.size) for layer in image.layers]
            content = {"schemaVersion": 2, "mediaType": f"{PREFIX}.manifest.v1+json", "config": config}
            manifest = add_blob(tar, json.dumps({**content, "layers": described}), "manifest.v1+json")
            tags = list(dict.fromkeys([image.exact, image.reference]))
            index += [{**manifest, "annotations": {"io.containerd.image.name": tag}} for tag in tags]
            paths = [find_blob(each) for each in described]
            docker.append({"Config": find_blob(config), "RepoTags": tags, "Layers": paths})
        add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": index}))
        add(tar, "manifest.json", json.dumps(docker))


def add_blob(tar: tarfile.TarFile, content: str, kind: str) -> dict[str, Any]:
    described = describe(kind, hash_text(content), len(content.encode()))
    add(tar, find_blob(described), content)
    return described


def describe(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": f"{PREFIX}.{kind}", "digest": f"sha256:{digest}", "size": size}


def find_blob(described: dict[str, Any]) -> str:
    return "blobs/" + described["digest"].replace(":", "/")


def add(tar: tarfile.TarFile, name: str, content: str) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content.encode())
    tar.addfile(header, io.BytesIO(content.encode()))
