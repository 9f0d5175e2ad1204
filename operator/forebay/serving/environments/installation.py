"""One environment on its way to its folder: exact versions first, then the wheels, then the switch."""

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forebay.serving.environments.brought import find_brought
from forebay.serving.environments.environment import Environment
from forebay.serving.environments.uv import UvError, run_uv
from forebay.serving.storage.place import Place

# The index has this name for uv, which reads UV_INDEX_CUSTOM_USERNAME and UV_INDEX_CUSTOM_PASSWORD for it.
_INDEX = "custom"
_WHEELS_ALONE = ("--only-binary", ":all:")
# Of what uv says, errors are told at the end.
_PROGRESS = re.compile(r"(Resolved|Downloading|Downloaded|Prepared|Installed|Bytecode compiled) ")


class Installation:
    """One environment, one place; who holds the place's lock runs it."""

    def __init__(
        self, environment: Environment, place: Place, cache: Path | None, on_progress: Callable[[str], None]
    ) -> None:
        self._environment, self._place, self._on_progress = environment, place, on_progress
        # In the same file system as the folder, so that nothing is copied.
        self._cache = cache or place.partial / "cache"
        self._index = ("--default-index", f"{_INDEX}={environment.index_url}") if environment.index_url else ()

    def run(self) -> list[str]:
        """Install all, and answer what it came to, as NAME==VERSION. Raises UvError, OSError."""
        place = self._place
        place.partial.mkdir(parents=True, exist_ok=True)
        packages = self._resolve()
        shutil.rmtree(place.tree, ignore_errors=True)
        place.tree.mkdir()
        if packages:
            self._fetch(packages)
        manifest = {
            "digest": self._environment.digest(),
            "requirements": list(self._environment.requirements),
            "packages": packages,
        }
        place.finish(manifest)
        return packages

    def find_newest(self, name: str) -> str:
        """The newest version of a package that could be installed here, as NAME==VERSION; empty where there is none."""
        try:
            found = self._compile([name])
        except UvError:
            return ""
        return next((line for line in found if canonicalize_name(Requirement(line).name) == name), "")

    def _resolve(self) -> list[str]:
        """Exact versions of all that is needed and isn't there."""
        brought = find_brought()
        found = self._compile(self._environment.requirements)
        return [line for line in found if canonicalize_name(Requirement(line).name) not in brought]

    def _compile(self, requirements: Sequence[str]) -> list[str]:
        folder, brought = self._place.partial, find_brought()
        _write(folder / "requirements.in", requirements)
        _write(folder / "constraints.txt", [f"{name}=={version}" for name, version in brought.items()])
        self._uv(
            "compile", *_WHEELS_ALONE, "--no-header", "--no-annotate", "--constraints", "constraints.txt",
            "--output-file", "resolved.txt", "requirements.in",
        )  # fmt: skip
        return [line for line in (folder / "resolved.txt").read_text().splitlines() if line.strip()]

    def _fetch(self, packages: list[str]) -> None:
        _write(self._place.partial / "packages.txt", packages)
        # Compiled now: where it is used, the folder can only be read.
        self._uv(
            "install", *_WHEELS_ALONE, "--no-deps", "--compile-bytecode", "--target", str(self._place.tree),
            "--requirements", "packages.txt",
        )  # fmt: skip

    def _uv(self, command: str, *arguments: str) -> None:
        run_uv(
            ["pip", command, "--python", sys.executable, *self._index, *arguments],
            folder=self._place.partial,
            cache=self._cache,
            on_line=self._tell,
        )

    def _tell(self, line: str) -> None:
        if _PROGRESS.match(line):
            self._on_progress(line)


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
