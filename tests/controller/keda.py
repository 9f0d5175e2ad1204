"""KEDA's own CRD, out of its Go module."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

VERSION = "v2.18.3"
DOWNLOAD_S = 300


@cache
def find_crd() -> Path:
    """The file that KEDA's chart installs for ScaledObjects."""
    if shutil.which("go") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no go to download KEDA's CRD with")
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"github.com/kedacore/keda/v2@{VERSION}"],
        capture_output=True, text=True, check=False, timeout=DOWNLOAD_S, cwd="/",
    )  # fmt: skip
    if done.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"KEDA can't be downloaded: {done.stderr}")
    return Path(json.loads(done.stdout)["Dir"]) / "config/crd/bases/keda.sh_scaledobjects.yaml"
