"""Hostile archives."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from forebay.serving.storage import archive
from forebay.serving.storage.errors import Reason, StorageError


def tar_of(tmp_path: Path, *members: tuple[str, bytes, str, bytes]) -> Path:
    """Pack (name, type, link, content) as they are, which tarfile does without a question."""
    path = tmp_path / "m.tar.gz"
    with tarfile.open(path, "w:gz", errors="surrogateescape") as tar:
        for name, kind, link, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def unpack(tmp_path: Path, packed: Path, name: str = "m.tar.gz") -> Path:
    into = tmp_path / "into" / "tree"
    into.mkdir(parents=True)
    archive.unpack(packed, name, into)
    return into


FILE, LINK, HARD, FOLDER = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE

ATTACKS = {
    "absolute path": [("/etc/evil", FILE, "", b"x")],
    "climbing path": [("a/../../evil", FILE, "", b"x")],
    "link to an absolute path": [("a", LINK, "/etc/passwd", b"")],
    "link that climbs out": [("a/b", LINK, "../../etc", b"")],
    "link that climbs from behind a link": [("d", LINK, ".", b""), ("e", LINK, "d/../x", b"")],
    "file through a link": [("a", LINK, "b", b""), ("a/evil", FILE, "", b"x")],
    "file in place of a link": [("a", LINK, "b", b""), ("a", FILE, "", b"x")],
    "hard link out": [("a", HARD, "/etc/passwd", b"")],
    "hard link to nothing": [("a", HARD, "../../etc/passwd", b"")],
    "device": [("a", tarfile.CHRTYPE, "", b"")],
    "pipe": [("a", tarfile.FIFOTYPE, "", b"")],
    "the same file twice": [("a", FILE, "", b"x"), ("./a", FILE, "", b"y")],
    "a newline": [("a\nb", FILE, "", b"x")],
    "a control character": [("1/\x1b[2Jb", FOLDER, "", b"")],
    "a name that isn't UTF-8": [("mod\udce8le.txt", FILE, "", b"x")],
    "a name that no disk takes": [("a" * 256, FILE, "", b"x")],
    "a file below a file": [("a", FILE, "", b"x"), ("a/b", FILE, "", b"y")],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_tar_attacks(tmp_path: Path, attack: str) -> None:
    before = set(tmp_path.iterdir())
    with pytest.raises(StorageError) as caught:
        unpack(tmp_path, tar_of(tmp_path, *ATTACKS[attack]))
    assert caught.value.reason is Reason.UNSAFE_ARCHIVE
    assert "tar -czf" in caught.value.message
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"into", "m.tar.gz"}


def test_links_that_stay_inside_are_kept(tmp_path: Path) -> None:
    into = unpack(
        tmp_path,
        tar_of(
            tmp_path,
            ("1/model.onnx", FILE, "", b"weights"),
            ("2", FOLDER, "", b""),
            ("2/model.onnx", LINK, "../1/model.onnx", b""),
            ("copy.onnx", HARD, "1/model.onnx", b""),
        ),
    )
    assert (into / "2/model.onnx").read_bytes() == b"weights"
    assert (into / "copy.onnx").read_bytes() == b"weights"


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tar_of(tmp_path, ("zeros", FILE, "", bytes(archive.FLOOR_BYTES + 1)))
    with pytest.raises(StorageError, match="bomb"):
        unpack(tmp_path, packed)
    assert sum(file.stat().st_size for file in (tmp_path / "into").rglob("*")) <= archive.FLOOR_BYTES + 8192
    monkeypatch.setattr(archive, "MOST_FILES", 10)
    many = tmp_path / "many"
    many.mkdir()
    with pytest.raises(StorageError, match="more than 10 files"):
        unpack(many, tar_of(many, *[(f"f{n}", FILE, "", b"") for n in range(11)]))


def test_zip_attacks(tmp_path: Path) -> None:
    packed = tmp_path / "m.zip"
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    for member in ("../evil", "/evil", link):
        with zipfile.ZipFile(packed, "w") as made:
            made.writestr(member, "/etc/passwd")
        with pytest.raises(StorageError) as caught:
            unpack(tmp_path / str(id(member)), packed, "m.zip")
        assert caught.value.reason is Reason.UNSAFE_ARCHIVE


@pytest.mark.parametrize("name", ["m.tar.gz", "m.tar", "m.zip"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x1f\x8b\x08\x00garbage", b"PK\x03\x04garbage"])
def test_what_is_no_archive(tmp_path: Path, name: str, content: bytes) -> None:
    packed = tmp_path / name
    packed.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        unpack(tmp_path, packed, name)
    assert caught.value.reason is Reason.CORRUPT_DOWNLOAD


def test_a_tar_that_is_cut_short(tmp_path: Path) -> None:
    packed = tar_of(tmp_path, ("a", FILE, "", bytes(range(256)) * 1000))
    packed.write_bytes(packed.read_bytes()[:-300])
    with pytest.raises(StorageError) as caught:
        unpack(tmp_path, packed)
    assert caught.value.reason is Reason.CORRUPT_DOWNLOAD
