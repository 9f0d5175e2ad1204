"""Who downloads: Forebay, s5cmd, and KServe's storage package, as commands. The peers have a venv of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.download_server import BUCKET
from tests.programs import CACHE

FOREBAY, S5CMD, KSERVE = "forebay", "s5cmd", "kserve"
_VERSIONS = {"s5cmd": "0.3.3", "kserve-storage": "0.21.0"}
_KSERVE = "import sys; from kserve_storage import Storage; Storage.download(*sys.argv[1:])"


def ensure_peers() -> Path:
    """The folder of the programs of both peers: installed once, kept by version."""
    folder = CACHE / "-".join(["download-peers", *_VERSIONS.values()])
    if not (folder / "bin/s5cmd").exists():
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        environment = {**os.environ, "UV_CACHE_DIR": str(CACHE / "uv"), "UV_SYSTEM_CERTS": "1"}
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
        wanted = [f"{name}=={version}" for name, version in _VERSIONS.items()]
        for command in (
            [uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(made)],
            [uv, "pip", "install", "--quiet", "--python", str(made / "bin/python"), *wanted],
        ):
            subprocess.run(command, env=environment, check=True, timeout=600)
        made.rename(folder)
    return folder / "bin"


def build_command(who: str, prefix: str, to: Path, peers: Path) -> list[str]:
    """What brings a prefix of the bucket to a folder."""
    uri = f"s3://{BUCKET}/{prefix}"
    if who == S5CMD:
        return [str(peers / "s5cmd"), "--log", "error", "cp", f"{uri}/*", f"{to}/"]
    if who == KSERVE:
        return [str(peers / "python"), "-c", _KSERVE, uri, str(to)]
    return [sys.executable, "-m", "forebay.serving.storage", "--uri", uri, "--to", str(to)]
