"""Folders that are kept whole: what volumes are given of them, and when they go."""

import os
from pathlib import Path

import pytest

from forebay.node.folders import Folders, measure
from forebay.node.store import Store
from forebay.node.trees import Tree, take_in
from forebay.serving.storage.place import MANIFEST

KIB = 1024
PAGE = 4 * KIB


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache", limit_bytes=40 * KIB)
    made.open()
    return made


def bring(store: Store, name: str, size: int = 12 * KIB) -> Path:
    """Some libraries, of that size and a page more."""
    folder = store.downloads / name
    (folder / "pack/empty").mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")
    (folder / "pack/module.py").write_bytes(b"x" * size)
    (folder / "bin").mkdir()
    (folder / "bin/tool").write_text("")
    (folder / "bin/tool").chmod(0o777)
    (folder / "pack/link").symlink_to("module.py")
    store.folders.add(name, folder, f"libraries {name}")
    return folder


def bring_model(store: Store, name: str, size: int) -> Tree:
    (store.downloads / name).mkdir()
    (store.downloads / name / "file").write_bytes(name.encode() * (size // len(name)))
    tree = take_in(store.downloads / name, store.blobs)
    (store.downloads / name / "file").unlink()
    return tree


def test_a_volume_has_all_of_it_and_nobody_can_change_it(store: Store, tmp_path: Path) -> None:
    assert not bring(store, "a").exists()
    store.folders.link("a", tmp_path / "one")
    store.folders.link("a", tmp_path / "two")
    assert (tmp_path / "one/pack/module.py").samefile(tmp_path / "two/pack/module.py")
    assert (tmp_path / "one/pack/link").readlink() == Path("module.py")
    assert (tmp_path / "one/pack/empty").is_dir()
    modes = [(tmp_path / "one" / each).stat().st_mode & 0o777 for each in ("bin/tool", "pack/module.py", MANIFEST)]
    assert modes == [0o555, 0o444, 0o444]
    (model,) = store.list_models()
    assert (model.uri, model.bytes) == ("libraries a", 12 * KIB + PAGE)
    assert store.measure().bytes == 12 * KIB + PAGE


@pytest.mark.parametrize("first", ["folder", "model"])
def test_what_was_not_used_for_longest_goes_first_whatever_it_is(store: Store, first: str) -> None:
    bring(store, "a")
    tree = bring_model(store, "model", 12 * KIB)
    blob = store.blobs.find(tree.files["file"])
    os.utime(store.root / "environments/a/about.json", (1, 1 if first == "folder" else 2**31))
    os.utime(blob, (2**31 if first == "folder" else 1, 1))
    with store.room("new", 24 * KIB):
        assert store.folders.has("a") is (first != "folder")
        assert tree.is_in(store.blobs) is (first != "model")


def test_what_is_in_use_stays(store: Store, tmp_path: Path) -> None:
    bring(store, "a")
    bring(store, "b")
    store.folders.link("a", tmp_path / "volume")
    assert store.folders.drop("a") == 0
    with store.room("new", 24 * KIB):
        assert (store.folders.has("a"), store.folders.has("b")) == (True, False)
    with pytest.raises(FileNotFoundError):
        store.folders.link("b", tmp_path / "gone")


def test_what_was_left_half_way_is_gone(store: Store) -> None:
    left = store.root / "environments/.half"
    left.mkdir()
    again = Folders(store.root / "environments")
    again.open()
    assert not left.exists()
    assert again.list_models() == []


def test_each_file_is_measured_once(tmp_path: Path) -> None:
    """As uv links its cache's files; those that others have, too, are others' to count."""
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/a").write_bytes(b"x" * PAGE)
    (tmp_path / "in/sub/a").hardlink_to(tmp_path / "in/a")
    (tmp_path / "in/b").write_bytes(b"x" * PAGE)
    (tmp_path / "outside").hardlink_to(tmp_path / "in/b")
    assert measure(tmp_path / "in") == PAGE
