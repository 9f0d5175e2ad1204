"""The demo, whole: both examples behind one gateway, real pictures, real Triton."""

import os
import re
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[2] / "hack/demonstrate.py"


def test_the_demo_is_right_about_most_pictures(tmp_path):
    done = subprocess.run(
        [sys.executable, str(DEMO)],
        env={**os.environ, "FOREBAY_STATE": str(tmp_path), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 of 20 right" in done.stdout
    assert "60 of 60 lines found" in done.stdout
    assert "stopped" in done.stdout.splitlines()[-1]
    for command in re.findall(r"\.venv/bin/(forebay (?:check|validate|render) \S+)", done.stdout):
        following = [sys.executable, "-m", "forebay.cli", *command.split()[1:]]
        told = subprocess.run(following, cwd=DEMO.parents[1], capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode == 0, f"{command}: {told.stdout}{told.stderr}"
