"""All that the agent keeps on its disk, within its bounds."""

import fcntl
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forebay.node.blobs import Blobs, Stored
from forebay.node.catalog import Catalog, Model
from forebay.node.folders import Folders, measure
from forebay.node.trees import Known
from forebay.serving.storage.errors import Reason, StorageError, show_bytes
from forebay.serving.storage.place import SPARE_BYTES


@dataclass(frozen=True)
class Usage:
    """Bytes of the store: in all, and what nobody uses now."""

    bytes: int
    idle_bytes: int


class Store:
    """The agent's folder. It belongs to one agent at a time."""

    def __init__(self, root: Path, *, limit_bytes: int, on_evicted: Callable[[int], None] = lambda _: None) -> None:
        self.root, self.limit_bytes = root, limit_bytes
        self.volumes, self.downloads, self.stage = root / "volumes", root / "downloads", root / "stage"
        self.blobs, self.known, self.catalog = (
            Blobs(root / "blobs"),
            Known(root / "known"),
            Catalog(root / "models"),
        )
        self.folders = Folders(root / "environments")
        self._on_evicted = on_evicted
        # What only this node knows, from its first day on; empty until it is open.
        self.secret = b""
        # Of the downloads that run: what each will need in all.
        self._reserved: dict[str, int] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the folders, and keep other agents out: waits until the one before has ended. Raises OSError."""
        for folder in (self.root, self.volumes, self.downloads, self.stage):
            folder.mkdir(parents=True, exist_ok=True)
            # The worker passes through, and reads nothing.
            folder.chmod(0o711)
        self._file = (self.root / "lock").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.folders.open()
        self.secret = _keep_secret(self.root / "secret")

    def measure(self) -> Usage:
        """What is on the disk now."""
        stored = self._list_stored()
        partial = sum(measure(folder) for folder in self.downloads.glob("*"))
        idle = sum(each.bytes for each in stored if not each.in_use)
        return Usage(sum(each.bytes for each in stored) + partial, idle)

    def list_models(self) -> list[Model]:
        """What is there, whole, as people know it: those first that were used last."""
        every = [*self.catalog.list_models(), *self.folders.list_models()]
        return sorted(every, key=lambda model: (-model.used_s, model.uri))

    def touch(self, name: str) -> None:
        """Note that a model, or an environment, was in use until now."""
        self.catalog.touch(name, self.blobs)
        self.folders.touch(name)

    @contextmanager
    def room(self, name: str, need_bytes: int) -> Iterator[None]:
        """Keep so much free for a download while it runs. Raises StorageError(DiskFull)."""
        with self._lock:
            self._reserved[name] = need_bytes
            try:
                self._make_room(name)
            except StorageError:
                del self._reserved[name]
                raise
        try:
            yield
        finally:
            with self._lock:
                self._reserved.pop(name, None)

    def make_room(self) -> None:
        """Evict what is over the limit now. Raises StorageError(DiskFull) where all of it is in use."""
        with self._lock:
            self._make_room("")

    def _make_room(self, name: str) -> None:
        excess = max(self._find_excess())
        if excess > 0:
            gained = self._evict(excess)
            if gained < excess:
                self._drop_downloads()
                # What these alone held.
                gained += self._evict(max(self._find_excess()))
            if gained:
                self._on_evicted(gained)
                self.forget_lost()
        # A disk that is full of other things is the download's to tell.
        excess, _ = self._find_excess()
        if excess > 0:
            need = f" for {show_bytes(self._reserved[name])}" if self._reserved.get(name) else ""
            raise StorageError(
                Reason.DISK_FULL,
                f"the node's cache may hold {show_bytes(self.limit_bytes)}, and is full with what is in use: "
                f"{show_bytes(excess)} are missing{need}; raise nodeCache.sizeLimit, or serve fewer "
                "models on this node",
            )

    def _list_stored(self) -> list[Stored]:
        return [*self.blobs.list_stored(), *self.folders.list_stored()]

    def _evict(self, excess_bytes: int) -> int:
        """Delete what no volume shows, what was not used for longest first; answer how many bytes are gained."""
        gained = 0
        for each in sorted(self._list_stored(), key=lambda each: each.used_s):
            if gained >= excess_bytes:
                break
            gained += each.drop()
        return gained

    def forget_lost(self) -> None:
        """Bring what is known of files in line with what is there."""
        self.known.forget_lost(self.blobs)
        self.catalog.forget_lost(self.blobs)

    def _find_excess(self) -> tuple[int, int]:
        """Bytes over the limit, and over what the disk has, once all that is promised is there."""
        stored = sum(each.bytes for each in self._list_stored())
        partial = {folder.name: measure(folder) for folder in self.downloads.glob("*")}
        names = partial.keys() | self._reserved.keys()
        pending = sum(max(partial.get(name, 0), self._reserved.get(name, 0)) for name in names)
        to_come = sum(max(0, need - partial.get(name, 0)) for name, need in self._reserved.items())
        free = shutil.disk_usage(self.root).free - SPARE_BYTES
        return stored + pending - self.limit_bytes, to_come - free

    def _drop_downloads(self) -> None:
        """Delete downloads that nobody goes on with."""
        for folder in self.downloads.glob("*"):
            if folder.name not in self._reserved:
                shutil.rmtree(folder, ignore_errors=True)


def _keep_secret(path: Path) -> bytes:
    if not path.exists():
        new = path.with_name(".secret.new")
        new.touch(mode=0o600)
        new.write_bytes(secrets.token_bytes(32))
        new.replace(path)
    return path.read_bytes()
