"""The Python packages of an image: its group of pyproject.toml, as uv.lock has it."""

import os
import sys
import tomllib
from pathlib import Path

from cluster_tool.commands import call
from cluster_tool.places import CACHE, REPOSITORY

from forebay.build.tree import Link, Tree, place
from image_tool.base import PREFIX, PYTHON, build_python_layer, compile_files, find_files
from image_tool.layers import Layer, hash_text
from image_tool.libraries import find_libraries

VENV = "/opt/venv"
PACKAGES = f"{VENV}/lib/{PYTHON}/site-packages"
INSTALL_S = 900


def build_dependency_layer(group: str) -> Layer:
    locked = tomllib.loads((REPOSITORY / "uv.lock").read_text())
    # Not the whole of pyproject.toml: the linters' settings change no image.
    project = next(each for each in locked["package"] if each["name"] == "forebay")
    packages = [each for each in locked["package"] if each["name"] != "forebay"]
    key = hash_text(build_python_layer().key, project["metadata"]["requires-dev"][group], packages)
    return Layer(f"packages-{group}", key, lambda: install(group))


def install(group: str) -> Tree:
    # Always there: packages carry the path that they were installed to.
    venv = CACHE / "image-packages" / group
    uv = Path(sys.executable).with_name("uv")
    settings = {
        "UV_PROJECT_ENVIRONMENT": str(venv),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(CACHE / "uv")),
        "UV_SYSTEM_CERTS": "1",
    }
    call(
        "env", *(f"{name}={value}" for name, value in settings.items()),
        uv, "sync", "--project", REPOSITORY, "--frozen", "--only-group", group, "--no-install-project",
        "--python", sys.executable, timeout_s=INSTALL_S,
    )  # fmt: skip
    site = venv / "lib" / PYTHON / "site-packages"
    return {**place(compile_files(find_files(site)), PACKAGES), **build_venv(VENV), **find_programs(venv)}


def find_programs(venv: Path) -> Tree:
    """uv, where the group has it: of all that a venv's bin holds the one that isn't Python, and runs in pods."""
    program = venv / "bin/uv"
    return {**find_libraries([program]), f"{VENV}/bin/uv": program} if program.exists() else {}


def build_venv(where: str) -> dict[str, bytes | Link]:
    """What makes a virtual environment of a folder with packages, in the image."""
    settings = f"home = {PREFIX}/bin\ninclude-system-site-packages = false\n"
    links = {f"{where}/bin/{name}": Link(f"{PREFIX}/bin/{PYTHON}") for name in ("python", "python3", PYTHON)}
    return {f"{where}/pyvenv.cfg": settings.encode(), **links}
