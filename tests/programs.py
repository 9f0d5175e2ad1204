"""Programs that tests start and no Python package has, each of its registry, kept under the cache by version.

Run: `python -m tests.programs` installs all of them. Tests do so, too, but a test has little time, and on a machine
that is new three suites would do it beside each other. What can't be installed is skipped, but not in CI.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path(os.environ.get("FOREBAY_CACHE") or Path.home() / ".cache/forebay")
FAKE_GCS = ("fake-gcs-server", "github.com/fsouza/fake-gcs-server", "1.56.1")
REGISTRY = ("registry", "github.com/distribution/distribution/v3/cmd/registry", "3.1.2")
AZURITE = "3.37.0"
MLFLOW = "3.17.2"
INSTALL_S = 900


def ensure_go_program(program: tuple[str, str, str]) -> Path:
    """The binary of a Go module."""
    name, module, wanted = program
    folder = CACHE / f"{name}-{wanted}"
    if not (folder / name).exists():
        _need("go")
        with _made(folder) as made:
            environment = {**os.environ, "GOBIN": str(made), "CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
            _run("go", "install", f"{module}@v{wanted}", env=environment)
    return folder / name


def ensure_azurite() -> Path:
    """Azurite's blob server, a Node program."""
    folder = CACHE / f"azurite-{AZURITE}"
    if not folder.exists():
        _need("npm")
        with _made(folder) as made:
            _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", made, f"azurite@{AZURITE}")
    return folder / "node_modules/.bin/azurite-blob"


def ensure_mlflow() -> Path:
    """The programs of MLflow: it is too large to depend on."""
    folder = CACHE / f"mlflow-{MLFLOW}"
    if not (folder / ".complete").exists():
        uv = Path(sys.executable).with_name("uv")
        environment = {**os.environ, "UV_CACHE_DIR": str(CACHE / "uv"), "UV_SYSTEM_CERTS": "1"}
        # What a person has who logs an ONNX model.
        packages = [f"mlflow[auth]=={MLFLOW}", *(f"{name}=={version(name)}" for name in ("onnx", "onnxruntime"))]
        # Not made elsewhere and renamed: programs of an environment know where it is.
        with (CACHE / f"mlflow-{MLFLOW}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / ".complete").exists():
                shutil.rmtree(folder, ignore_errors=True)
                _run(uv, "venv", "--quiet", "--python", sys._base_executable, folder, env=environment)
                python = folder / "bin/python"
                _run(uv, "pip", "install", "--quiet", "--python", python, *packages, env=environment)
                (folder / ".complete").touch()
    return folder / "bin"


def ensure_prometheus(name: str = "prometheus") -> Path:
    """`prometheus` or `promtool`: the one on PATH, or of Debian's package, out of which it is taken: to install that
    would start a server.
    """
    folder = CACHE / "promtool"
    if known := shutil.which(name) or shutil.which(name, path=folder):
        return Path(known)
    _need("apt-get")
    _need("dpkg-deb")
    with tempfile.TemporaryDirectory() as place:
        # As root, apt-get would do the download as a user who may not write here.
        own = ("-o", "APT::Sandbox::User=root")
        download = ("apt-get", "download", "prometheus", *own)
        # A machine whose package lists are missing or old needs new ones first.
        if subprocess.run(download, cwd=place, capture_output=True, check=False, timeout=INSTALL_S).returncode:
            _run("apt-get", "update", "-qq", *own)
            _run(*download, cwd=place)
        (package,) = Path(place).glob("*.deb")
        _run("dpkg-deb", "-x", str(package), "content", cwd=place)
        folder.mkdir(parents=True, exist_ok=True)
        for each in ("prometheus", "promtool"):
            # By a rename, as another run may do the same.
            made = folder / f"{each}.{os.getpid()}"
            shutil.copy(Path(place) / "content/usr/bin" / each, made)
            made.replace(folder / each)
    return folder / name


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A folder that takes its place as a whole when the block ends, and none where it fails."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{folder.name}.", ignore_cleanup_errors=True) as place:
        made = Path(place) / "made"
        made.mkdir()
        yield made
        if not folder.exists():
            made.rename(folder)


def _need(tool: str) -> None:
    if shutil.which(tool) is None:
        _give_up(f"needs {tool}")


def _run(*command: str | Path, env: dict[str, str] | None = None, cwd: str | None = None) -> None:
    try:
        subprocess.run(command, env=env, cwd=cwd, check=True, timeout=INSTALL_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        _give_up(str(error))


def _give_up(reason: str) -> NoReturn:
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def main() -> None:
    wanted: dict[str, Callable[[], Path]] = {
        f"registry {REGISTRY[2]}": lambda: ensure_go_program(REGISTRY),
        f"fake-gcs-server {FAKE_GCS[2]}": lambda: ensure_go_program(FAKE_GCS),
        f"Azurite {AZURITE}": ensure_azurite,
        f"MLflow {MLFLOW}": ensure_mlflow,
        "prometheus": ensure_prometheus,
    }
    for number, (name, ensure) in enumerate(wanted.items(), 1):
        print(f"\033[2m•\033[0m servers for tests: {name} ({number} of {len(wanted)})", flush=True)
        try:
            ensure()
        except pytest.skip.Exception as reason:
            print(f"! {reason}: the tests with it are skipped")


if __name__ == "__main__":
    main()
