"""What a manifest on a disk may point to: a script beside it, a model's folder beside it."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import unquote

from forebay.api.base import Model
from forebay.api.diagnosis import Finding
from forebay.api.image_build import ImageBuildSpec
from forebay.api.model_deployment import Custom
from forebay.api.model_source import ModelSource
from forebay.api.model_version import ModelVersionSpec
from forebay.api.rules import Path, child_models
from forebay.api.script_address import is_address

MAX_SCRIPT = 262_144


class UnresolvedError(ValueError):
    """Something that is pointed to and can't be used."""


def resolve_references(model: type[Model], data: dict[str, Any], folder: FilePath, at: Path = ()) -> Iterator[Finding]:
    """Put scripts inline and make model folders absolute, in `data` itself; what can't be is reported."""
    for field, resolve in REFERENCES.get(model, {}).items():
        if isinstance(data.get(field), str):
            try:
                data[field] = resolve(data[field], folder)
            except UnresolvedError as error:
                yield Finding((*at, field), str(error))
    for name, child in child_models(model).items():
        below = data.get(name)
        items = enumerate(below) if isinstance(below, list) else [(None, below)]
        for index, item in items:
            if isinstance(item, dict):
                place = (*at, name) if index is None else (*at, name, index)
                yield from resolve_references(child, item, folder, place)


def find_script_files(data: dict[str, Any], folder: FilePath) -> dict[str, str]:
    """Files of the scripts that are given as paths, by the component that has them."""
    spec = data.get("spec")
    components = spec.items() if isinstance(spec, dict) else ()
    customs = {name: each.get("custom") for name, each in components if isinstance(each, dict)}
    scripts = {name: custom.get("script") for name, custom in customs.items() if isinstance(custom, dict)}
    return {name: str(folder / each) for name, each in scripts.items() if isinstance(each, str) and is_file(each)}


def is_file(script: str) -> bool:
    """Whether a script is given as the path of a .py file."""
    return "\n" not in script and script.endswith(".py") and not is_address(script)


def inline_script(script: str, folder: FilePath) -> str:
    """The source of a script that is given as the path of a .py file; any other text as it is."""
    if not is_file(script):
        return script
    path = folder / script
    if len(script) > 4096 or "\0" in script:
        raise UnresolvedError("is no path that a file can have")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UnresolvedError(f"no such file: {path}{_similar(path)}") from None
    except OSError as error:
        raise UnresolvedError(f"cannot be read: {path}: {error.strerror}") from None
    try:
        source = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UnresolvedError(f"is not UTF-8: {path}, line {line}") from None
    if len(source) > MAX_SCRIPT:
        raise UnresolvedError(
            f"is too large: {path} has {len(source)} characters, of {MAX_SCRIPT} at most; use an image"
        )
    if not source.strip():
        raise UnresolvedError(f"is empty: {path}")
    # The rule that tells a source from a path looks for a line's end.
    return source if source.endswith("\n") else source + "\n"


def _similar(path: FilePath) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" (there is no folder {folder})"
    scripts = sorted(each.name for each in folder.iterdir() if each.suffix == ".py")
    near = difflib.get_close_matches(path.name, scripts, n=3)
    if near:
        return f": did you mean {' or '.join(near)}?"
    return f" (scripts there: {', '.join(scripts[:5])})" if scripts else " (there is no script in that folder)"


def absolute_uri(uri: str, folder: FilePath) -> str:
    """A file: address as an absolute one; any other as it is."""
    if not uri.startswith("file:") or any(space in uri for space in " \t\n\r\0"):
        return uri
    rest = uri.removeprefix("file:")
    if rest.startswith("//") and not rest.startswith("///"):
        raise UnresolvedError("names a host after file://: write file:PATH (relative to the manifest) or file:///PATH")
    path = unquote(rest.removeprefix("//"))
    if "\0" in path:
        raise UnresolvedError("is no path that a file can have")
    return (folder / path).resolve().as_uri() if path else uri


REFERENCES: Mapping[type[Model], Mapping[str, Any]] = {
    Custom: {"script": inline_script},
    ImageBuildSpec: {"script": inline_script},
    ModelSource: {"uri": absolute_uri},
    ModelVersionSpec: {"uri": absolute_uri},
}
