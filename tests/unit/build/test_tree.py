"""Layers: the same content is the same bytes, whoever has it."""

import io
import os
import tarfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forebay.build.layers import pack_layer
from forebay.build.tree import Folder, Link, Tree, write_tar

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 120
)
CONTENTS = st.one_of(st.binary(max_size=300), st.builds(Link, NAMES), st.sampled_from([Folder(0o755), Folder(0o1777)]))
# Two levels: what is a file is never a folder as well.
TREES = st.dictionaries(st.tuples(NAMES, NAMES), CONTENTS, max_size=8).map(
    lambda found: {f"/{folder}/{name}": content for (folder, name), content in found.items()}
)


def tar_of(tree: Tree) -> bytes:
    written = io.BytesIO()
    write_tar(written, tree)
    return written.getvalue()


@given(tree=TREES, order=st.randoms(use_true_random=False))
def test_the_order_of_a_tree_is_nothing_to_its_tar(tree: dict[str, bytes], order) -> None:
    items = list(tree.items())
    order.shuffle(items)
    assert tar_of(dict(items)) == tar_of(tree)


@given(tree=TREES)
def test_all_of_a_tree_is_in_its_tar_and_nothing_of_the_machine(tree: dict[str, bytes]) -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(tree)), encoding="utf-8") as tar:
        members = tar.getmembers()
        assert {f"/{each.name}" for each in members} >= tree.keys()
        assert len({each.name for each in members}) == len(members)
        for each in members:
            assert (each.mtime, each.uid, each.gid, each.uname, each.gname, each.pax_headers) == (0, 0, 0, "", "", {})
            content = tree.get(f"/{each.name}")
            if isinstance(content, bytes):
                assert tar.extractfile(each).read() == content
        # A folder stands before what lies in it.
        seen = set()
        for each in members:
            parent = each.name.rpartition("/")[0]
            assert not parent or parent in seen
            seen.add(each.name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=st.binary(max_size=2000), times=st.integers(0, 2**31), group=st.integers(0, 0o77))
def test_a_file_is_the_same_at_any_time_and_for_any_group(tmp_path: Path, body: bytes, times: int, group: int) -> None:
    digests = set()
    for name, mode, mtime in (("one", 0o600, 1), ("two", 0o600 | group, times)):
        (tmp_path / name).write_bytes(body)
        (tmp_path / name).chmod(mode)
        os.utime(tmp_path / name, (mtime, mtime))
        layer = pack_layer({"/app/file": tmp_path / name}, tmp_path / f"{name}.tar.gz")
        assert layer.path.stat().st_size == layer.descriptor.size
        digests.add((layer.descriptor, layer.diff_id))
        (tmp_path / name).unlink()
    assert len(digests) == 1
