"""Models in volumes, which here are folders: what counts is what the command makes of what is mounted."""

import json
from pathlib import Path

import pytest

from forebay.serving.storage import Reason, StorageError, fetch, mounted
from forebay.serving.storage.__main__ import main


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume/digits/3/1").mkdir(parents=True)
    (tmp_path / "volume/digits/3/1/model.onnx").write_bytes(b"x")
    (tmp_path / "volume/digits/3/config.pbtxt").write_text('name: "digits"')
    return tmp_path / "volume"


def test_a_repository_of_links_over_a_claim(volume: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(volume.rglob("*"))
    to = tmp_path / "model/files"
    wanted = ["--uri=pvc://models/digits/3", f"--to={to}", f"--mounted-at={volume}"]
    assert main([*wanted, "--layout=triton", "--name=x"]) == 0
    assert (tmp_path / "model/files.repository/digits/1/model.onnx").read_bytes() == b"x"
    assert not to.exists()
    assert main([*wanted, "--layout=plain"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[1] == {"event": "done", "path": f"{volume}/digits/3", "bytes": 0, "cached": True}
    assert sorted(volume.rglob("*")) == before


def test_an_nfs_folder_is_mounted_itself(volume: Path) -> None:
    assert mounted.find("nfs://server/exports/models", volume) == volume


def test_a_path_in_an_image(volume: Path) -> None:
    assert mounted.find("oci://registry:5000/digits:v3#/digits/3", volume) == volume / "digits/3"
    assert mounted.find("oci://registry:5000/digits:v3#/", volume) == volume
    with pytest.raises(StorageError, match="did you mean oci://registry:5000/digits:v3/digits/3"):
        mounted.find("oci://registry:5000/digits:v3#/digit/3", volume)


@pytest.mark.parametrize(
    ("path", "reason", "said"),
    [
        ("digit/3", Reason.NOT_FOUND, "did you mean pvc://models/digits/3?"),
        ("digits/4", Reason.NOT_FOUND, "pvc://models/digits/3"),
        ("digits/3/config.pbtxt/1", Reason.NOT_FOUND, "does not exist"),
        ("digits/../../etc", Reason.UNSUPPORTED_URI, "without .."),
    ],
)
def test_what_is_not_there(volume: Path, path: str, reason: Reason, said: str) -> None:
    with pytest.raises(StorageError) as caught:
        mounted.find(f"pvc://models/{path}", volume)
    assert (caught.value.reason, said in caught.value.message) == (reason, True), caught.value


@pytest.mark.parametrize("uri", ["pvc://models/digits", "nfs://server/digits"])
def test_not_without_a_mount(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="volume that a pod mounts"):
        fetch(uri, tmp_path / "m")
