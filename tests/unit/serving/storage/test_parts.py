"""The small parts: file addresses, suggestions, the journal, multipart ETags, the command."""

import hashlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from forebay.serving.storage import Reason, StorageError, fetch, journal, nearest
from forebay.serving.storage.__main__ import main
from forebay.serving.storage.arriving import Arriving
from forebay.serving.storage.checksums import Arrived, start_sum
from forebay.serving.storage.download import PIECE_BYTES, split
from forebay.serving.storage.errors import redact, show_bytes
from forebay.serving.storage.journal import Journal
from forebay.serving.storage.segments import choose_piece_bytes
from forebay.serving.storage.source import Item
from forebay.serving.storage.sums import Sum

MIB = 1024 * 1024


@pytest.mark.parametrize("prefix", ["file:", "file://", "file://localhost"])
def test_files_are_used_in_place(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "model").mkdir()
    assert fetch(f"{prefix}{tmp_path}/model", tmp_path / "unused") == tmp_path / "model"
    assert not (tmp_path / "unused").exists()


def test_odd_file_names(tmp_path: Path) -> None:
    for name in ("a b", "100%25", "c#d"):
        (tmp_path / name).mkdir()
    assert fetch(f"file:{tmp_path}/a%20b", tmp_path / "x").name == "a b"
    assert fetch(f"file:{tmp_path}/100%25", tmp_path / "x").name == "100%25"
    assert fetch(f"file:{tmp_path}/c#d", tmp_path / "x").name == "c#d"


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "digits" / "3").mkdir(parents=True)
    with pytest.raises(StorageError, match=rf"did you mean file:{tmp_path}/digits/3\?") as caught:
        fetch(f"file:{tmp_path}/digit/3", tmp_path / "x")
    assert caught.value.reason is Reason.NOT_FOUND
    for wrong in ("file:model", "file:./model", "file://host/model"):
        with pytest.raises(StorageError, match="not absolute"):
            fetch(wrong, tmp_path / "x")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("digit/3", (True, ["digits/3"])),
        ("digits/33", (True, ["digits/3"])),
        ("digits/999", (False, ["digits/3", "digits/4"])),
        ("zebra/1", (False, ["digits", "faces"])),
        ("face/7", (True, ["faces"])),
    ],
)
def test_suggestions(path: str, answer: tuple[bool, list[str]]) -> None:
    tree = {"": ["digits", "faces"], "digits": ["3", "4"], "faces": ["1"], "digits/3": ["1"], "digits/4": ["1"]}
    assert nearest.suggest(path, lambda name: tree.get(name, []), lambda name: name in tree) == answer


def test_the_journal_survives_torn_lines_and_other_versions(tmp_path: Path) -> None:
    item, other = Item("a", "a", 100, "v1"), Item("a", "a", 100, "v2")
    written = Journal(tmp_path / "journal")
    written.add(item, (0, 50))
    written.add(item, (50, 100))
    written.close()
    path = tmp_path / "journal"
    path.write_bytes(path.read_bytes()[:-10] + b"\xff\x00")
    written = Journal(path)
    assert written.pieces(item) == {(0, 50)}
    assert written.pieces(other) == set()
    written.add(item, (50, 100))
    written.close()
    written = Journal(path)
    assert written.pieces(item) == {(0, 50), (50, 100)}
    written.forget(item)
    written.close()
    assert Journal(path).pieces(item) == set()


def test_what_was_written_before_the_machine_went_down_is_not_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, path = Item("a", "a", 150, "v1"), tmp_path / "journal"
    for number, piece in enumerate([(0, 50), (50, 100)]):
        (tmp_path / "boot").write_text(f"boot-{number}\n")
        monkeypatch.setattr(journal, "_BOOT", tmp_path / "boot")
        written = Journal(path)
        written.add(item, piece)
        written.close()
    assert Journal(path).pieces(item, is_checked=False) == {(50, 100)}
    assert Journal(path).pieces(item) == {(0, 50), (50, 100)}, "the sum of the file will tell"


def test_pieces() -> None:
    size = 2 * PIECE_BYTES + 1
    assert split(Item("a", "a", size, "v")) == [(0, PIECE_BYTES), (PIECE_BYTES, size - 1), (size - 1, size)]
    assert split(Item("a", "a", size, "v", ranged=False)) == [(0, size)]
    assert split(Item("a", "a", 0, "v")) == []
    assert split(Item("a", "a", None, "v")) == [(0, 0)]


def test_etags_of_parts(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello world")
    md5 = partial(hashlib.md5, usedforsecurity=False)
    joined = md5(md5(b"hello ").digest() + md5(b"world").digest()).digest()
    file = Arrived(tmp_path / "a")
    assert file.read_sum(Sum("md5")) == md5(b"hello world").digest()
    assert file.read_sum(Sum("md5", part_bytes=6)) == joined == file.read_sum_of_parts("md5", [6, 5])
    for sum_ in (
        Sum("md5", part_bytes=6),
        Sum("crc32", part_bytes=4),
        Sum("crc32c"),
        Sum("sha1", beginning=b"blob 11"),
    ):
        taking = start_sum(sum_)
        for part in (b"hel", b"lo world", b""):
            taking.update(part)
        assert taking.digest() == taking.digest() == file.read_sum(sum_)


def test_sums_are_taken_in_order_whatever_comes_first(tmp_path: Path) -> None:
    content = random.Random(3).randbytes(3 * MIB + 7)
    (tmp_path / "f").write_bytes(content)
    pieces = [(start, min(start + MIB, len(content))) for start in range(0, len(content), MIB)]
    arriving = Arriving(tmp_path / "f", pieces, {pieces[2]}, [Sum("sha256")])
    assert arriving.missing == [pieces[0], pieces[1], pieces[3]]
    assert [arriving.add(piece) for piece in (pieces[3], pieces[1], pieces[0])] == [False, False, True]
    (tmp_path / "f").write_bytes(b"")
    assert arriving.arrived().read_sum(Sum("sha256")) == hashlib.sha256(content).digest(), "not read again"
    there = Arriving(tmp_path / "f", [], set(), [Sum("md5")])
    assert there.add(None)
    assert there.arrived().read_sum(Sum("md5")) == hashlib.md5(b"", usedforsecurity=False).digest()


@pytest.mark.parametrize(
    "wanted",
    [
        Sum("crc32"),
        Sum("crc32c"),
        Sum("crc32", part_bytes=700_001),
        Sum("crc32c", part_bytes=5 * MIB),
        Sum("md5", part_bytes=MIB // 2),
        Sum("md5", part_bytes=700_001),
        Sum("sha1", beginning=b"blob"),
    ],
    ids=repr,
)
def test_sums_of_pieces_make_the_sum_of_the_file(tmp_path: Path, wanted: Sum) -> None:
    content = random.Random(5).randbytes(4 * MIB + 7)
    (tmp_path / "f").write_bytes(content)
    pieces = [(start, min(start + MIB, len(content))) for start in range(0, len(content), MIB)]
    arriving = Arriving(tmp_path / "f", pieces, {pieces[1]}, [wanted, Sum("sha256")])
    for start, end in reversed(arriving.missing):
        takings = arriving.begin(start)
        for at in range(start, end, 300_000):
            for taking in takings.values():
                taking.update(memoryview(content)[at : min(at + 300_000, end)])
        done = arriving.add((start, end), takings)
    assert done
    assert arriving.arrived().read_sum(wanted) == Arrived(tmp_path / "f").read_sum(wanted)
    assert arriving.arrived().read_sum(Sum("sha256")) == hashlib.sha256(content).digest()
    assert (wanted in arriving.begin(0)) == (wanted.algorithm != "sha1" and wanted != Sum("md5", part_bytes=700_001))


def test_pieces_hold_whole_parts_where_that_is_possible() -> None:
    sizes = {0: 8 * MIB, 5 * MIB: 10 * MIB, 16 * MIB: 16 * MIB, 100 * MIB: 8 * MIB, 3: 8 * MIB + 1}
    assert {parts: choose_piece_bytes([Sum("md5", part_bytes=parts)]) for parts in sizes} == sizes
    assert choose_piece_bytes([Sum("crc32", part_bytes=5 * MIB)]) == 8 * MIB, "they are cut where the parts are"


def test_one_of_many_threads_finishes_a_file(tmp_path: Path) -> None:
    content = random.Random(4).randbytes(64 * 1024)
    (tmp_path / "f").write_bytes(content)
    pieces = [(start, start + 1024) for start in range(0, len(content), 1024)]
    for seed in range(20):
        arriving = Arriving(tmp_path / "f", pieces, set(), [Sum("sha256")])
        shuffled = random.Random(seed).sample(pieces, len(pieces))
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(arriving.add, shuffled)) == 1
        assert arriving.arrived().read_sum(Sum("sha256")) == hashlib.sha256(content).digest()


def test_what_is_shown() -> None:
    assert redact("https://me:pw@host/a.bin?sig=x#sha256=y") == "https://host/a.bin"
    assert redact("https://me:pw@[host/a.bin?sig=x#sha256=y") == "https://[host/a.bin"


@pytest.mark.parametrize("uri", ["s3://models[old/x", "https://me:pw@[host/m.onnx?sig=x", "hf://[x]/y", "file://[/m"])
def test_an_address_that_is_none(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="with no brackets") as caught:
        fetch(uri, tmp_path / "m")
    assert caught.value.reason is Reason.UNSUPPORTED_URI
    assert not {"pw", "sig"} & set(caught.value.message.replace("@", " ").replace("?", " ").split())
    assert [show_bytes(n) for n in (5, 2048, 3 * 1024**3, 2 * 1024**4)] == ["5 bytes", "2.0 KiB", "3.0 GiB", "2.0 TiB"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model/1").mkdir(parents=True)
    (tmp_path / "model/1/model.onnx").write_text("x")
    wanted = ["--uri", f"file:{tmp_path}/model", "--to", str(tmp_path / "m")]
    assert main([*wanted, "--layout", "triton", "--name", "digits"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done == {"event": "done", "path": str(tmp_path / "m.repository"), "bytes": 0, "cached": True}
    assert main(wanted) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(tmp_path / "model")
    assert main([*wanted, "--layout", "triton"]) == 1
    error = json.loads(capsys.readouterr().out)
    assert (error["event"], error["reason"]) == ("error", "BadLayout")
