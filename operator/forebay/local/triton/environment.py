"""Triton from its wheel, in an environment of its own that is made once and kept under the cache."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from forebay.local.errors import LocalError
from forebay.local.paths import cache_dir

_HERE = Path(__file__).parent
_REQUIREMENTS = _HERE / "requirements.txt"
# What only the stand-in for the backend "fil" needs.
_FOREST_REQUIREMENTS = _HERE / "requirements-fil.txt"
_STUBS = range(8, 14)
_DISK_FULL = "The disk is full: free some space, or point $FOREBAY_CACHE to another disk"


@dataclass(frozen=True, kw_only=True)
class TritonEnvironment:
    """An installed Triton. `env` goes to its process."""

    binary: Path
    backends: Path
    env: Mapping[str, str]


def require_platform() -> None:
    """Raise LocalError where the Triton wheel doesn't run."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise LocalError(
            f"there is no Triton for {system} on {machine}: its wheel is for Linux on x86_64. Serve the model with "
            "`predictor: {custom: {script: ...}}`, or run this on a Linux machine, in a VM or on a cluster"
        )
    libc, version = platform.libc_ver()
    if libc != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < (2, 28):
        raise LocalError(f"there is no Triton for {libc or 'this libc'} {version}: its wheel needs glibc 2.28 or newer")
    if sys.version_info.minor not in _STUBS:
        raise LocalError(
            f"there is no Triton Python backend for Python 3.{sys.version_info.minor}: use Python 3.11 to 3.13"
        )


def ensure_triton(say: Callable[[str], None], *, forests: bool = False) -> TritonEnvironment:
    """Triton's environment, made on first use (a download of about 90 MB). Raises LocalError when that fails.

    With `forests` it can run models of XGBoost and LightGBM, for which it needs another 40 MB.
    """
    require_platform()
    content = b"".join(
        path.read_bytes() for path in [_REQUIREMENTS, _FOREST_REQUIREMENTS, *sorted(_HERE.rglob("model.py"))]
    )
    key = hashlib.sha256(content + f"{sys.version_info[:2]}{sys.base_prefix}".encode()).hexdigest()[:12]
    home = cache_dir() / f"triton-{key}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:  # two `forebay serve` may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / ".complete").exists():
            _install(home, say)
            (home / ".complete").touch()
        if forests and not (home / ".forests").exists():
            say("installing what runs models of XGBoost and LightGBM (about 40 MB, once)")
            _install_packages(home / "venv", _FOREST_REQUIREMENTS)
            (home / ".forests").touch()
    return _describe(home)


def _install(home: Path, say: Callable[[str], None]) -> None:
    say("installing Triton 2.51 into an environment of its own (about 90 MB, once)")
    venv = home / "venv"
    uv = _find_uv()
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)])
    _install_packages(venv, _REQUIREMENTS)
    say("preparing Triton's backends")
    server = _site_packages(venv) / "pytriton/tritonserver"
    backends = home / "backends"
    shutil.rmtree(backends, ignore_errors=True)
    shutil.copytree(_HERE / "backends", backends)
    shutil.copytree(server / "backends/python", backends / "python")
    stubs = server / f"python_backend_stubs/3.{sys.version_info.minor}"
    shutil.copytree(stubs, backends / "python", dirs_exist_ok=True)
    (backends / "python/triton_python_backend_stub").chmod(0o755)
    (server / "bin/tritonserver").chmod(0o755)


def _install_packages(venv: Path, requirements: Path) -> None:
    # --no-deps: the list is complete, and Triton's wheel asks for packages that only its own Python API needs.
    python = str(venv / "bin/python")
    _run([_find_uv(), "pip", "install", "--no-deps", "--python", python, "-r", str(requirements)])


def _find_uv() -> str:
    from uv import find_uv_bin  # noqa: PLC0415  (only an installation needs it)

    return find_uv_bin()


def _run(argv: list[str]) -> None:
    # uv shows bytes, rate and time left on a terminal by itself.
    stderr = None if sys.stderr.isatty() else subprocess.PIPE
    # The system's certificates: where the network has an authority of its own, the system knows it.
    env = {"UV_CACHE_DIR": str(cache_dir() / "uv"), "UV_SYSTEM_CERTS": "1", **os.environ}
    done = subprocess.run(argv, check=False, stderr=stderr, text=True, env=env)
    if done.returncode != 0:
        reason = (done.stderr or "see above").strip()
        hint = f"\n{_DISK_FULL}" if "No space left" in reason else ""
        raise LocalError(f"Triton could not be installed: {' '.join(argv[:3])} failed: {reason}{hint}")


def _site_packages(venv: Path) -> Path:
    return venv / f"lib/python3.{sys.version_info.minor}/site-packages"


def _describe(home: Path) -> TritonEnvironment:
    venv = home / "venv"
    packages = _site_packages(venv)
    libraries = [packages / "nvidia_pytriton.libs", Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")]
    env = {
        # The Python backend starts the interpreter that it finds first on PATH, and ignores PYTHONPATH.
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "LD_LIBRARY_PATH": os.pathsep.join([*map(str, libraries), os.environ.get("LD_LIBRARY_PATH", "")]).rstrip(":"),
        "VIRTUAL_ENV": str(venv),
    }
    return TritonEnvironment(
        binary=packages / "pytriton/tritonserver/bin/tritonserver", backends=home / "backends", env=env
    )
