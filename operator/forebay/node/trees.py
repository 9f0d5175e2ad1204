"""What a source's files became on this node: kept by what tells their content, so that they aren't fetched again."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from forebay.node.blobs import Blobs, digest_of
from forebay.serving.storage.content import build_digest


def go_on() -> None:
    """Nobody ends it."""


@dataclass(frozen=True)
class Tree:
    """Files of the store by their path in a folder, with links and empty folders as archives have them."""

    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The digest of the content, as a ModelVersion has it."""
        return build_digest({path: digest_of(name) for path, name in self.files.items()})

    def is_in(self, blobs: Blobs) -> bool:
        """Whether all its files are there."""
        return all(blobs.has(name) for name in self.files.values())

    def build(self, blobs: Blobs, folder: Path, check: Callable[[], None] = go_on) -> int:
        """Make the folder, which isn't there yet, and answer its size. Raises FileNotFoundError for what is evicted.

        `check` is called before each file, and raises what ends it.
        """
        folder.mkdir()
        for path in self.folders:
            (folder / path).mkdir(parents=True, exist_ok=True)
        size = 0
        for path, name in self.files.items():
            check()
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            blobs.link(name, place)
            size += place.stat().st_size
        for path, target in self.links.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(target)
        return size


def take_in(folder: Path, blobs: Blobs, check: Callable[[], None] = go_on) -> Tree:
    """A folder's files into the store. `check` is called before each, and raises what ends it."""
    tree = Tree()
    for path in sorted(folder.rglob("*")):
        check()
        name = str(path.relative_to(folder))
        if path.is_symlink():
            tree.links[name] = str(path.readlink())
        elif path.is_dir():
            if not any(path.iterdir()):
                tree.folders.append(name)
        else:
            tree.files[name] = blobs.add(path)
    return tree


class Known:
    """Trees by what identifies them in their source. Of a single file the tree has the path "file"."""

    FILE = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, identity: str) -> Tree | None:
        """What was kept; None where nothing is."""
        try:
            return Tree(**json.loads(self._find(identity).read_text("utf-8"))) if identity else None
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def keep(self, identity: str, tree: Tree) -> None:
        """Keep what became of it. Nothing is kept where there is no identity."""
        if identity:
            write_json(self._find(identity), asdict(tree))

    def forget(self, identity: str) -> None:
        """Delete what was kept."""
        if identity:
            self._find(identity).unlink(missing_ok=True)

    def forget_lost(self, blobs: Blobs) -> None:
        """Delete what speaks of files that were evicted."""
        for path in self._folder.glob("??/*"):
            tree = self.get(path.name)
            if tree is None or not tree.is_in(blobs):
                path.unlink(missing_ok=True)

    def _find(self, identity: str) -> Path:
        return self._folder / identity[:2] / identity


def write_json(path: Path, content: object, *, mode: int = 0o600) -> None:
    """Put a file in its place, whole at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(content), "utf-8")
    new.chmod(mode)
    os.replace(new, path)  # noqa: PTH105  (over what is there)
