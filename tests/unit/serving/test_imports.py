"""What is imported where it isn't needed takes seconds and memory of every pod."""

import subprocess
import sys


def test_who_downloads_a_model_imports_no_numpy() -> None:
    code = "import sys, forebay.serving.storage.__main__; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_what_scripts_import_is_there() -> None:
    code = "from forebay.serving import BadRequest, Context, Request, Tensor; Tensor('a', 'FP32', [1])"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
