"""The models of a node, as people know them: by address. It is what is shown; the store knows files alone."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from forebay.node.blobs import Blobs
from forebay.node.trees import Tree, write_json
from forebay.serving.storage.errors import redact


@dataclass(frozen=True)
class Model:
    """What is whole on this node: a model by its address, which holds no signature, or a script's libraries."""

    name: str
    uri: str
    digest: str
    bytes: int
    used_s: float


class Catalog:
    """A file for each model: what it is, and the names of its files in the store. When it changed, it was used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, origin: str, uri: str, tree: Tree, size: int) -> str:
        """Note a model that is there, and answer its name."""
        name = hashlib.sha256(f"{origin} {redact(uri)}".encode()).hexdigest()[:32]
        entry = {"uri": redact(uri), "digest": tree.digest, "bytes": size, "files": sorted({*tree.files.values()})}
        write_json(self._folder / name, entry)
        return name

    def touch(self, name: str, blobs: Blobs) -> None:
        """Note that a model was in use until now."""
        path = self._folder / name
        if name and path.exists():
            os.utime(path)
            for blob in json.loads(path.read_text("utf-8"))["files"]:
                blobs.touch(blob)

    def list_models(self) -> list[Model]:
        """All models, those first that were used last."""
        found = []
        for path in self._paths():
            try:
                entry = json.loads(path.read_text("utf-8"))
                del entry["files"]
                found.append(Model(name=path.name, used_s=int(path.stat().st_mtime), **entry))
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                continue
        return sorted(found, key=lambda model: (-model.used_s, model.uri))

    def forget_lost(self, blobs: Blobs) -> None:
        """Delete those of which a file was evicted."""
        for path in self._paths():
            try:
                whole = all(map(blobs.has, json.loads(path.read_text("utf-8"))["files"]))
            except (ValueError, KeyError, TypeError):
                whole = False
            if not whole:
                path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return [path for path in self._folder.glob("*") if not path.name.startswith(".")]
