"""The libraries of an image, from wheels: nothing of them is run, so that they are had for any platform."""

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from forebay.build.errors import BuildError
from forebay.build.tree import Tree, place

PACKAGES = "/opt/forebay/packages"
_UV_PLATFORMS = {
    # What any wheel of today is for, and any base of the last years has.
    "linux/amd64": "x86_64-manylinux_2_28",
    "linux/arm64": "aarch64-manylinux_2_28",
    "linux/arm64/v8": "aarch64-manylinux_2_28",
}
# What runs a script: others of Forebay's libraries may be had in any version.
_SERVING = {
    "grpcio", "numpy", "prometheus-client", "python-multipart", "starlette", "swagger-ui-bundle", "tritonclient",
    "uvicorn", "uvloop",
}  # fmt: skip
_INSTALL_S = 1800
_SAID_LINES = 12
_UNREACHED = re.compile(r"error sending request|operation timed out|server error|dns error", re.IGNORECASE)
# Of the machine or the moment that installed it. Programs start by the path of an interpreter of that machine.
_LEFT_OUT = re.compile(r"bin/|\.lock$|(.*/)?__pycache__/|.*\.pyc$|[^/]+\.dist-info/(direct_url|uv_cache)\.json$")


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What is to be installed: a requirements.txt, and where from; the default index where none is named."""

    file: Path
    indexes: Sequence[str] = ()


def check_platform(platform: str) -> None:
    """Raises BuildError for a platform that nothing can be installed for."""
    if platform not in _UV_PLATFORMS:
        known = ", ".join(name for name in _UV_PLATFORMS if name.count("/") == 1)
        raise BuildError(f"{platform} is no platform that wheels are installed for: write {known}")


def install(requirements: Requirements, *, platform: str, python: str, folder: Path) -> Tree:
    """Install into `folder` for another platform and Python; what goes into the image. Raises BuildError."""
    check_platform(platform)
    site = folder / "site"
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{each}\n" for each in read_constraints()), "utf-8")
    command = [
        str(find_uv()), "pip", "install", "--no-config", "--only-binary", ":all:", "--link-mode", "copy",
        "--python", sys.executable, "--python-version", python, "--python-platform", _UV_PLATFORMS[platform],
        "--target", str(site), "--constraints", str(constraints), "--requirements", str(requirements.file.resolve()),
        *_choose_indexes(requirements.indexes),
    ]  # fmt: skip
    env = {**os.environ, "NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_SYSTEM_CERTS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_S, check=False, env=env, cwd=folder
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"installing {requirements.file} did not end in {_INSTALL_S} s: look at the index") from error
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-_SAID_LINES:])
        raise BuildError(
            f"{requirements.file} can't be installed from wheels for {platform} and Python {python}:\n{said}\n"
            "Only wheels are taken: choose versions that have one there, or leave the platform out",
            passing=_UNREACHED.search(done.stderr) is not None,
        )
    return read_site(site)


def read_site(site: Path) -> Tree:
    """What was installed, without what is another's each time."""
    files = {str(path.relative_to(site)): path for path in sorted(site.rglob("*")) if path.is_file()}
    kept = {name: path for name, path in files.items() if not _LEFT_OUT.match(name)}
    records = {
        f"{PACKAGES}/{name}": clean_record(path.read_text("utf-8")) for name, path in kept.items() if _is_record(name)
    }
    return {**place(kept, PACKAGES), **records}


def clean_record(text: str) -> bytes:
    """A RECORD of what is in the image, sorted."""
    rows = [row for row in csv.reader(io.StringIO(text)) if row and not _LEFT_OUT.match(row[0]) and ".." not in row[0]]
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows(sorted(rows))
    return made.getvalue().encode()


def read_constraints() -> list[str]:
    """What forebay.serving itself needs: a script's libraries lie before its own on the path."""
    try:
        needed = requires("forebay") or []
    except PackageNotFoundError:
        return []
    plain = [re.sub(r"\[.*?\]", "", each) for each in needed]
    return [each for each in plain if re.match(r"[\w.-]+", each)[0] in _SERVING]  # type: ignore[index]


def find_uv() -> Path:
    """The program of the package uv. Raises BuildError."""
    try:
        from uv import find_uv_bin  # noqa: PLC0415  (a build without requirements does without)

        return Path(find_uv_bin())
    except (ImportError, FileNotFoundError) as error:
        raise BuildError(f"requirements need uv: {sys.executable} -m pip install uv") from error


def _choose_indexes(indexes: Sequence[str]) -> list[str]:
    """The first in place of PyPI, the others beside it."""
    first = ["--default-index", indexes[0]] if indexes else []
    return [*first, *(word for each in indexes[1:] for word in ("--index", each))]


def _is_record(name: str) -> bool:
    return re.fullmatch(r"[^/]+\.dist-info/RECORD", name) is not None
