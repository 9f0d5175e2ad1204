"""Files by content: what is shared, what is evicted, and what stays."""

import shutil
from pathlib import Path

import pytest

from forebay.node.messages import CSI
from forebay.node.store import Store
from forebay.node.trees import Known, Tree, take_in
from forebay.serving.storage.errors import StorageError

KIB = 1024


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache", limit_bytes=40 * KIB)
    made.open()
    return made


def bring(store: Store, name: str, files: dict[str, bytes]) -> Tree:
    folder = store.downloads / name
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    tree = take_in(folder, store.blobs)
    shutil.rmtree(folder)
    return tree


def test_the_digest_is_that_of_the_registry(store: Store, tmp_path: Path) -> None:
    files = {"config.pbtxt": b"x", "1/model.onnx": b"y" * 10, "1/a": b"z"}
    tree = bring(store, "d", files)
    tree.build(store.blobs, tmp_path / "made")
    from forebay.cluster.registry.content import compute_digest, read_files  # noqa: PLC0415

    assert tree.digest == compute_digest(read_files(tmp_path / "made"))


def test_one_content_is_there_once(store: Store, tmp_path: Path) -> None:
    tree = bring(store, "d", {"a": b"same" * KIB, "b": b"same" * KIB})
    assert tree.build(store.blobs, tmp_path / "made") == 8 * KIB
    assert (tmp_path / "made/a").samefile(tmp_path / "made/b")
    assert store.measure().bytes == 4 * KIB


def test_links_and_empty_folders_come_back(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "1/empty").mkdir(parents=True)
    (folder / "1/real").write_bytes(b"x")
    (folder / "1/real").chmod(0o755)
    (folder / "1/link").symlink_to("real")
    take_in(folder, store.blobs).build(store.blobs, tmp_path / "out")
    assert (tmp_path / "out/1/link").readlink() == Path("real")
    assert (tmp_path / "out/1/empty").is_dir()
    # Programs stay programs.
    assert (tmp_path / "out/1/real").stat().st_mode & 0o777 == 0o555


def test_what_is_shown_is_never_evicted(store: Store, tmp_path: Path) -> None:
    shown = bring(store, "one", {"a": b"1" * 20 * KIB})
    shown.build(store.blobs, tmp_path / "volume")
    store.known.keep("0" * 64, Tree({Known.FILE: shown.files["a"]}))
    idle = bring(store, "two", {"b": b"2" * 16 * KIB})
    store.known.keep("1" * 64, Tree({Known.FILE: idle.files["b"]}))
    with store.room("three", 20 * KIB):
        assert not idle.is_in(store.blobs)
        assert store.known.get("1" * 64) is None
        assert store.known.get("0" * 64)
    with pytest.raises(StorageError, match=r"raise nodeCache\.sizeLimit"), store.room("four", 21 * KIB):
        pass
    assert (tmp_path / "volume/a").read_bytes() == b"1" * 20 * KIB


def test_two_downloads_do_not_promise_the_same_room(store: Store) -> None:
    with store.room("one", 30 * KIB):
        with pytest.raises(StorageError, match="in use"), store.room("two", 20 * KIB):
            pass
        with store.room("three", 10 * KIB):
            pass


def test_downloads_that_nobody_goes_on_with_make_room(store: Store) -> None:
    (store.downloads / "left").mkdir()
    (store.downloads / "left/part").write_bytes(b"x" * 30 * KIB)
    with store.room("new", 30 * KIB):
        assert not (store.downloads / "left").exists()


def test_what_such_a_download_alone_holds_makes_room_too(store: Store) -> None:
    left = store.downloads / "left"
    left.mkdir()
    (left / "taken").write_bytes(b"x" * 30 * KIB)
    taken = take_in(left, store.blobs)
    with store.room("new", 30 * KIB):
        assert not left.exists()
        assert not taken.is_in(store.blobs)


def test_torn_records_are_none(store: Store) -> None:
    store.known.keep("a" * 64, Tree({"file": "x"}))
    path = store.root / "known/aa" / ("a" * 64)
    path.write_text(path.read_text()[:5])
    assert store.known.get("a" * 64) is None
    assert store.known.get("") is None


def test_messages_are_those_of_csi() -> None:
    # As Go's CSI library encodes them: numbers and types are the contract.
    request = CSI["NodePublishVolumeRequest"](volume_id="v", target_path="/t", readonly=True, secrets={"k": "s"})
    assert request.SerializeToString() == b"\x0a\x01v\x22\x02/t\x30\x01\x3a\x06\x0a\x01k\x12\x01s"
    # What isn't known is passed over: 5 is the volume's capability.
    assert CSI["NodePublishVolumeRequest"].FromString(b"\x0a\x01v\x2a\x02\x08\x01").volume_id == "v"
