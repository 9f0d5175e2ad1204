"""The download's container where the node's agent brings the model: what it says is what it says without."""

import json
import threading
import time
from pathlib import Path

import pytest

from forebay.node.volumes import Asked, Volume
from forebay.serving.storage import Reason, StorageError, cached
from forebay.serving.storage.__main__ import main
from forebay.serving.storage.progress import Progress


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    made = Volume(tmp_path / "volume")
    made.make(Asked("model", "s3://models/digits", "", "default", "pod", "/target"))
    return made


def fill(volume: Volume) -> None:
    (volume.files / "1").mkdir(parents=True)
    (volume.files / "1/model.onnx").write_bytes(b"x")
    (volume.files / "config.pbtxt").write_text('name: "digits"')
    volume.tell_complete(42, hit=False, model="m")


def test_it_waits_and_lays_out_the_repository(
    volume: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume.tell_progress(Progress(10, 42, 0, 2))
    threading.Timer(0.5, fill, [volume]).start()
    to = tmp_path / "model/files"
    wanted = ["--uri=s3://models/digits", f"--to={to}", f"--cached-at={volume.shown}", "--layout=triton", "--name=x"]
    assert main(wanted) == 0
    assert (tmp_path / "model/files.repository/digits/1/model.onnx").read_bytes() == b"x"
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0] == {"event": "progress", "bytes": 10, "total": 42, "files": 0, "files_total": 2}
    assert events[-1] == {"event": "done", "path": f"{to}.repository", "bytes": 42, "cached": False}


def test_a_failure_is_told_in_its_own_words(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    failure = StorageError(Reason.ACCESS_DENIED, "s3://models/digits may not be read: ...")
    threading.Timer(0.3, volume.tell_failure, [failure]).start()
    assert main(["--uri=s3://models/digits", "--to=/nowhere", f"--cached-at={volume.shown}"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said == {"event": "error", "reason": "AccessDenied", "message": failure.message}


def test_a_failure_of_the_run_before_waits_for_the_next_try(volume: Volume) -> None:
    volume.tell_failure(StorageError(Reason.ACCESS_DENIED, "before"))
    time.sleep(0.01)
    threading.Timer(0.3, fill, [volume]).start()
    assert cached.wait(volume.shown, lambda _: None).path == volume.files
    volume.tell_failure(StorageError(Reason.NOT_FOUND, "before"))
    time.sleep(0.01)
    with pytest.raises(StorageError, match="before"):
        cached.wait(volume.shown, lambda _: None, old_failure_s=0.1)
