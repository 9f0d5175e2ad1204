"""The registry of the distribution project, as images are pushed to it and pulled from it."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from forebay.build.image import (
    CONFIG,
    Document,
    Settings,
    build_config,
    build_index,
    build_manifest,
    split_platform,
    write_document,
)
from forebay.build.layers import pack_layer
from tests.local.storage_servers import free_port, running
from tests.programs import REGISTRY, ensure_go_program

Json = dict[str, Any]
ACCEPTED = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


class ImageRegistry:
    """A registry that runs, and a client of it."""

    def __init__(self, host: str, client: httpx.Client) -> None:
        self.host, self.client = host, client

    def put_blob(self, repository: str, body: bytes) -> None:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        place = self.client.post(f"/v2/{repository}/blobs/uploads/").raise_for_status().headers["location"]
        self.client.put(f"{place}&digest={digest}", content=body).raise_for_status()

    def put(self, repository: str, document: Document, version: str = "") -> None:
        path = f"/v2/{repository}/manifests/{version or document.descriptor.digest}"
        headers = {"Content-Type": document.descriptor.media_type}
        self.client.put(path, content=document.body, headers=headers).raise_for_status()

    def read(self, repository: str, version: str) -> tuple[Json, str]:
        """A manifest or an index, and the digest of its bytes."""
        answer = self.client.get(f"/v2/{repository}/manifests/{version}", headers={"Accept": ACCEPTED})
        document: Json = answer.raise_for_status().json()
        return document, f"sha256:{hashlib.sha256(answer.content).hexdigest()}"

    def read_blob(self, repository: str, digest: str) -> bytes:
        """A blob, which must be what it is called by."""
        body = self.client.get(f"/v2/{repository}/blobs/{digest}").raise_for_status().content
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == digest
        return body

    def push_base(self, repository: str, tag: str, *platforms: str, folder: Path, python: str = "3.11.7") -> None:
        """A base of little content: an index where it is for several platforms."""
        manifests = {}
        for platform in platforms:
            layer = pack_layer({"/etc/platform": platform.encode()}, folder / "base.tar.gz")
            parts = split_platform(platform)
            base = {"architecture": parts["architecture"], "os": parts["os"]}
            env = {"PATH": "/usr/local/bin:/usr/bin:/bin"} | ({"PYTHON_VERSION": python} if python else {})
            settings = Settings(env=env, labels={"dev.forebay.runtime": "0.1.0"})
            config = write_document(CONFIG, build_config(base, {"base": layer.diff_id}, settings))
            for body in (layer.path.read_bytes(), config.body):
                self.put_blob(repository, body)
            manifests[platform] = build_manifest(config.descriptor, [layer.descriptor])
        for manifest in manifests.values():
            self.put(repository, manifest, tag if len(manifests) == 1 else "")
        if len(manifests) > 1:
            index = build_index({platform: each.descriptor for platform, each in manifests.items()})
            self.put(repository, index, tag)


@contextmanager
def serving_images(folder: Path, *, address: str = "127.0.0.1", port: int = 0, **config: Json) -> Iterator[str]:
    """The host of a registry that keeps what it is given in a folder. `config` is merged over its own."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    own: Json = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"{address}:{port}", **config.pop("http", {})},
        "log": {"level": "error"},
    }
    (folder / "config.yml").write_text(json.dumps(own | config))
    command = [str(ensure_go_program(REGISTRY)), "serve", str(folder / "config.yml")]
    with running(command, port, folder, address=address, OTEL_TRACES_EXPORTER="none"):
        yield f"{'localhost' if address == '127.0.0.1' else address}:{port}"
