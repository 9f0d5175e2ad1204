"""One `forebay serve` per ModelDeployment, and how others find it."""

import json
import subprocess
import sys

import pytest

from forebay.local.errors import LocalError
from forebay.local.run_folder import Record, RunFolder, find_record

HOLDER = """
import os, sys
from forebay.local.run_folder import Record, RunFolder
folder = RunFolder("default/digits")
folder.publish(Record(name="default/digits", url="u", grpc="g", metrics="m", model="digits", entry="predictor",
                      pid=os.getpid()))
print(os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("FOREBAY_STATE", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder():
    argv = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert int(process.stdout.readline()) == process.pid
        yield process
        process.kill()


def test_a_folder_is_held_by_one_process(holder):
    with pytest.raises(LocalError, match=f"default/digits is served already, by process {holder.pid}: end that one"):
        RunFolder("default/digits")
    RunFolder("default/other").close()


def test_a_killed_holder_leaves_nothing_in_the_way(holder, state):
    assert find_record("digits").pid == holder.pid
    holder.kill()
    holder.wait()
    assert (state / "default.digits/record.json").exists(), "it could not clean up"
    with pytest.raises(LocalError, match=r"Nothing is: run `forebay serve FILE.yaml` first"):
        find_record("digits")
    RunFolder("default/digits").close()
    assert not (state / "default.digits/record.json").exists()


def test_the_same_process_twice():
    folder = RunFolder("default/digits")
    with pytest.raises(LocalError, match="default/digits stands in two of the files"):
        RunFolder("default/digits")
    folder.close()
    RunFolder("default/digits").close()


def test_records_are_found_by_both_names(holder):
    assert find_record("digits") == find_record("default/digits")
    assert find_record("digits").url == "u"
    with pytest.raises(LocalError, match=r"digit is not served here\. Served: default/digits$"):
        find_record("digit")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"name": "a", "unknown": 1})])
def test_a_record_that_cannot_be_read_is_none(state, content):
    (state / "default.digits").mkdir()
    (state / "default.digits/record.json").write_text(content)
    with pytest.raises(LocalError, match="Nothing is"):
        find_record("digits")


def test_logs_stay(state):
    folder = RunFolder("default/digits")
    folder.logs.mkdir()
    (folder.logs / "predictor-0.log").write_text("why it failed")
    folder.publish(Record(name="a/b", url="", grpc="", metrics="", model="", entry="", pid=1))
    folder.close()
    assert (state / "default.digits/logs/predictor-0.log").read_text() == "why it failed"
    assert not (state / "default.digits/record.json").exists()
