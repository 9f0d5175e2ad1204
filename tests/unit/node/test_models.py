"""How models come into a node's store, and what is left of a try that failed."""

from pathlib import Path

import pytest

from forebay.node.child import Workers
from forebay.node.counts import Counts
from forebay.node.models import Models
from forebay.node.roles import Roles
from forebay.node.store import Store

KIB = 1024


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache", limit_bytes=1024 * KIB)
    made.open()
    return made


@pytest.fixture
def models(store: Store) -> Models:
    return Models(store, Workers(None), Roles(None), Counts(), downloads=1)


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
