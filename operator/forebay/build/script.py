"""The script that an image serves: read, checked and never run, with the modules of its own that it imports."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.build.errors import BuildError
from forebay.build.tree import Tree
from forebay.serving.source import Role, ScriptError, Source, check_signatures, find_class, guess_role, parse_source

APP = "/opt/forebay/app"
_SKIPPED = {"__pycache__", ".git"}


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script that can be served. `files` are what goes into the image beside it, by name there."""

    path: Path
    role: Role
    class_name: str
    files: Tree

    @property
    def place(self) -> str:
        """Where it lies in the image."""
        return f"{APP}/{self.path.name}"


def read_script(path: Path, added: Sequence[Path] = (), *, role: Role | None = None) -> Script:
    """Check a script, and find what it needs of what lies beside it. Raises BuildError."""
    if path.suffix != ".py":
        raise BuildError(f"{path} is no script: write the path of a .py file")
    try:
        source = parse_source(path)
        chosen = role or guess_role(source)
        node = find_class(source, chosen)
        if wrong := check_signatures(source, node):
            raise BuildError("\n".join(wrong))
    except ScriptError as error:
        raise BuildError(str(error)) from error
    files = {f"{APP}/{path.name}": path, **find_modules(source)}
    for each in added:
        files |= {f"{APP}/{name}": file for name, file in list_files(each).items()}
    return Script(path=path, role=chosen, class_name=node.name, files=files)


def find_modules(source: Source) -> dict[str, Path]:
    """The modules and packages beside a script that it imports, and those that they import, by place in the image."""
    folder = source.path.resolve().parent
    found: dict[str, Path] = {}
    waiting = [source]
    while waiting:
        for name in _imported(waiting.pop().tree):
            for path in _find_beside(folder, name):
                place = f"{APP}/{path.relative_to(folder)}"
                if place not in found:
                    found[place] = path
                    waiting += [_parse(path)] if path.suffix == ".py" else []
    found.pop(f"{APP}/{source.path.name}", None)
    return found


def list_files(path: Path) -> dict[str, Path]:
    """A file, or a folder's files, by the path that they have in the folder of the script."""
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise BuildError(f"{path} is not there: write the path of a file or folder")
    name = path.resolve().name
    return {f"{name}/{each.relative_to(path)}": each for each in walk(path)}


def walk(folder: Path) -> Iterator[Path]:
    """The files of a folder, sorted; none that somebody's tools put there."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _SKIPPED.intersection(path.relative_to(folder).parts) and path.suffix != ".pyc":
            yield path


def name_model(path: Path) -> str:
    """What the model is called unless somebody says: as the script."""
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "model"


def _parse(path: Path) -> Source:
    try:
        return parse_source(path)
    except ScriptError as error:
        raise BuildError(str(error)) from error


def _imported(tree: ast.Module) -> set[str]:
    """The first part of the name of all that is imported."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def _find_beside(folder: Path, name: str) -> list[Path]:
    if (folder / name / "__init__.py").is_file():
        return list(walk(folder / name))
    module = folder / f"{name}.py"
    return [module] if module.is_file() else []
