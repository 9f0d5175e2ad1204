"""promtool and prometheus of Debian's package `prometheus`, taken out of it: to install that would start a server."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("FOREBAY_CACHE") or Path.home() / ".cache/forebay") / "promtool"
DOWNLOAD_S = 300


def find_promtool() -> str | None:
    """The one on PATH, or in the cache, or now downloaded; None where that can't be."""
    return find_program("promtool")


def find_program(name: str) -> str | None:
    """The same of any program of the package."""
    if known := shutil.which(name) or shutil.which(name, path=CACHE):
        return known
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    with tempfile.TemporaryDirectory() as folder:
        # A machine whose package lists are missing or old needs new ones first.
        if not (_run("apt-get", "download", "prometheus", cwd=folder) or _update(folder)):
            return None
        (package,) = Path(folder).glob("*.deb")
        if not _run("dpkg-deb", "-x", str(package), "content", cwd=folder):
            return None
        CACHE.mkdir(parents=True, exist_ok=True)
        # By a rename, as another run may do the same.
        shutil.copy(Path(folder) / "content/usr/bin" / name, CACHE / f"{name}.{os.getpid()}")
        (CACHE / f"{name}.{os.getpid()}").replace(CACHE / name)
    return str(CACHE / name)


def _update(folder: str) -> bool:
    return _run("apt-get", "update", "-qq", cwd=folder) and _run("apt-get", "download", "prometheus", cwd=folder)


def _run(*command: str, cwd: str) -> bool:
    # As root, apt-get would do the download as a user who may not write here.
    options = ["-o", "APT::Sandbox::User=root"] if command[0] == "apt-get" else []
    done = subprocess.run([*command, *options], cwd=cwd, capture_output=True, check=False, timeout=DOWNLOAD_S)
    return done.returncode == 0
