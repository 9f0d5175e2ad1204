"""How models come into a node's store, and what is left of a try that failed."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from forebay.node.child import Cancel, Cancelled, Workers
from forebay.node.counts import Counts
from forebay.node.models import Models
from forebay.node.roles import Roles
from forebay.node.store import Store
from forebay.node.volumes import Asked, Volume, find_volume
from forebay.serving.storage.content import build_digest
from forebay.serving.storage.errors import StorageError
from forebay.serving.storage.place import Place
from forebay.serving.storage.progress import Progress
from forebay.serving.storage.source import Item, Listing

KIB = 1024
URI = "s3://models/digits"


@dataclass(frozen=True)
class Bucket(Workers):
    """A worker's work without its process: what is in the bucket, and how often it was fetched."""

    user: int | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def run(
        self,
        asked: Mapping[str, Any],
        _: Mapping[str, str],
        cancel: Cancel,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Listing:
        listing = Listing(tuple(Item(path, path, len(data), f"v-{path}") for path, data in self.files.items()))
        skipped = {path for path, *_ in asked.get("skip", ())}
        for path, data in self.files.items():
            if "to" in asked and path not in skipped:
                place = Place(Path(asked["to"])).tree / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
                self.fetched.append(path)
        cancel.check()
        return listing


def digest_of(files: Mapping[str, bytes]) -> str:
    return build_digest({path: sha256(data).hexdigest() for path, data in files.items()})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache", limit_bytes=1024 * KIB)
    made.open()
    return made


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(files={"a": b"a" * 10, "b": b"b" * 10})


@pytest.fixture
def models(store: Store, bucket: Bucket) -> Models:
    return Models(store, bucket, Roles(None), Counts(), downloads=1)


def ask(store: Store, name: str = "csi-1", digest: str = "") -> tuple[Volume, Asked]:
    volume, asked = find_volume(store.volumes, name), Asked("model", URI, digest, "default", "pod", "/target")
    volume.make(asked)
    return volume, asked


def fill(models: Models, store: Store, name: str = "csi-1", *, digest: str = "") -> Volume:
    volume, asked = ask(store, name, digest)
    models.fill(volume, asked, {}, Cancel())
    return volume


def test_what_an_agent_was_killed_over_is_the_workers_again(models: Models, store: Store) -> None:
    tree = store.downloads / "name/model.partial/tree"
    tree.mkdir(parents=True)
    for name, mode in (("plain", 0o444), ("program", 0o555), ("taken", 0o444)):
        (tree / name).write_bytes(name.encode())
        (tree / name).chmod(mode)
    (tree / "link").symlink_to("/etc/hostname")
    taken = store.blobs.find(store.blobs.add(tree / "taken"))
    models._prepare(store.downloads / "name")
    # Root may write to all of them: it is the mode that the worker meets.
    modes = {path.name: path.stat().st_mode & 0o777 for path in tree.iterdir() if not path.is_symlink()}
    assert modes == {"plain": 0o644, "program": 0o755}
    assert taken.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("wrong", [{"a", "b"}, {"a"}])
def test_a_wrong_copy_on_the_node_is_downloaded_once_more(
    models: Models, store: Store, bucket: Bucket, wrong: set[str]
) -> None:
    right = dict(bucket.files)
    bucket.files.update(dict.fromkeys(wrong, b"!" * 10))
    fill(models, store, "csi-1")
    bucket.files.update(right)
    if wrong != set(right):  # then the one that is right is asked for alone
        (store.blobs.find(store.blobs.add(write(store, right["b"])))).unlink()
        with pytest.raises(StorageError, match="another content"):
            fill(models, store, "csi-2", digest=digest_of(right))
    bucket.fetched.clear()
    volume = fill(models, store, "csi-2", digest=digest_of(right))
    assert bucket.fetched == ["a", "b"]
    assert {path.name: path.read_bytes() for path in volume.files.iterdir()} == right
    bucket.fetched.clear()
    fill(models, store, "csi-3", digest=digest_of(right))
    assert bucket.fetched == []


def write(store: Store, data: bytes) -> Path:
    path = store.root / "file"
    path.write_bytes(data)
    return path


def test_what_the_version_does_not_mean_is_not_kept(models: Models, store: Store, bucket: Bucket) -> None:
    with pytest.raises(StorageError, match="another content"):
        fill(models, store, digest=f"sha256:{'0' * 64}")
    assert not [*store.downloads.iterdir()], "nothing holds what came"
    assert not [path for path in (store.root / "known").rglob("*") if path.is_file()]
    bucket.fetched.clear()
    fill(models, store, "csi-2", digest=digest_of(bucket.files))
    assert bucket.fetched == ["a", "b"]


def test_what_was_another_content_is_not_downloaded_again_at_once(
    models: Models, store: Store, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, wanted = time.monotonic(), f"sha256:{'0' * 64}"
    for _ in range(2):
        with pytest.raises(StorageError, match="another content"):
            fill(models, store, digest=wanted)
    assert bucket.fetched == ["a", "b"]
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 700)
    with pytest.raises(StorageError, match="another content"):
        fill(models, store, digest=wanted)
    assert bucket.fetched == ["a", "b"] * 2
    # Other files are another download.
    bucket.files["c"] = b"c"
    fill(models, store, digest=digest_of(bucket.files))


@pytest.mark.parametrize("known", [True, False])
def test_a_volume_that_is_gone_does_not_come_back(
    models: Models, store: Store, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if known:
        fill(models, store, "csi-0").remove()
    volume, asked = ask(store)
    cancel, call = Cancel(), store.blobs.has if known else store.blobs.add

    def late(argument: Any) -> object:
        found = call(argument)
        # The kubelet waits no longer.
        cancel.set()
        volume.remove()
        return found

    monkeypatch.setattr(store.blobs, "has" if known else "add", late)
    with pytest.raises(Cancelled):
        models.fill(volume, asked, {}, cancel)
    assert not volume.folder.exists()


def test_a_volume_that_goes_while_its_model_is_taken_in(
    models: Models, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, asked = ask(store)
    cancel, add = Cancel(), store.blobs.add
    added: list[str] = []

    def add_long(path: Path) -> str:
        added.append(path.name)
        cancel.set()
        return add(path)

    monkeypatch.setattr(store.blobs, "add", add_long)
    with pytest.raises(Cancelled):
        models.fill(volume, asked, {}, cancel)
    assert added == ["a"]


def test_what_could_not_be_shown_pins_nothing(models: Models, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, asked = ask(store)

    def fail(_: Volume, __: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Volume, "show", fail)
    with pytest.raises(OSError, match="no space left"):
        models.fill(volume, asked, {}, Cancel())
    assert not (volume.folder / "new").exists()


def test_who_waits_for_other_downloads_says_so_and_can_go(models: Models, store: Store) -> None:
    volume, asked = ask(store)
    cancel, ended = Cancel(), threading.Event()

    def work() -> None:
        with pytest.raises(Cancelled):
            models.fill(volume, asked, {}, cancel)
        ended.set()

    with models._downloads:
        threading.Thread(target=work, daemon=True).start()
        deadline_s = time.monotonic() + 30
        while "message" not in volume.read_state() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert volume.read_state()["message"] == "waits for other downloads of this node"
        cancel.set()
        assert ended.wait(30)
