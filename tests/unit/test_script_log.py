"""What is told of the log of a script whose `load` failed."""

import subprocess
import sys
from pathlib import Path

import pytest

from forebay.script_log import explain_load


def log_of(tmp_path: Path, body: str) -> str:
    path = tmp_path / "scripts" / "predictor.py"
    path.parent.mkdir()
    path.write_text(body)
    return subprocess.run([sys.executable, path], capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("x = 1\nopen('/no/such')\n", 2, "FileNotFoundError: [Errno 2] No such file or directory: '/no/such'"),
        ("import json\njson.loads('{')\n", 2, "json.decoder.JSONDecodeError: Expecting property name"),
        ("try:\n  1 / 0\nexcept ZeroDivisionError:\n  raise ValueError('two\\nlines')\n", 4, "ValueError: two\nlines"),
    ],
)
def test_the_exception_and_its_line(tmp_path: Path, body: str, line: int, message: str) -> None:
    told = explain_load(
        f"INFO before\n{log_of(tmp_path, body)}[forebay] it exited with status 3\n",
        script=f"{tmp_path}/scripts/predictor.py",
    )
    assert told.startswith(f"{tmp_path}/scripts/predictor.py:{line}: load failed: {message}")
    assert "[forebay]" not in told
    assert "before" not in told


def test_nothing_of_a_log_without_a_traceback() -> None:
    assert explain_load("INFO: ready\n", script="x.py") == ""
