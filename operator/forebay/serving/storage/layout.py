"""What Triton needs is a repository: a folder of models, each with its config.pbtxt and numbered versions."""

import shutil
from pathlib import Path

from forebay.serving.formats.suffixes import guess_format
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.pbtxt import read_config_name

CONFIG = "config.pbtxt"
EXPECTED_TREE = """
what Triton expects:
  {name}/
  ├── config.pbtxt
  └── 1/
      └── model.onnx   (or what its backend loads)"""
MOST_SHOWN = 8


def arrange_triton(source: Path, repository: Path, *, name: str | None = None) -> Path:
    """Make `repository` a Triton repository over `source`, by symlinks alone, and answer it.

    A source that is a repository is linked as a whole and passes untouched; the folder of one model is linked under
    the name in its config.pbtxt, or else `name`. Raises StorageError(BadLayout) with the fix; OSError.
    """
    if not source.is_dir():
        fix = f"write model.format: {guess_format(source.name) or 'onnx, say'}, or name the folder of the model"
        raise _bad(source, f"{source.name} is a file: {fix}", name)
    if is_model(source):
        model_name = _name_of(source) or name
        if not model_name or "/" in model_name or model_name.startswith("."):
            raise _bad(source, f'{CONFIG} gives no usable name: write name: "digits" in it, or give --name', name)
        _check_versions(source, model_name)
        _link_model(repository, model_name, _seen_from(repository, source))
        return repository
    check_repository(source, name=name)
    _link_whole(repository, _seen_from(repository.parent, source))
    return repository


def read_model_names(repository: Path) -> list[str]:
    """Names of the models in a Triton repository, sorted."""
    return sorted(path.name for path in _folders(repository) if is_model(path))


def is_model(folder: Path) -> bool:
    """Whether this is one model's folder: a config.pbtxt, or numbered versions that aren't models themselves."""
    return (folder / CONFIG).is_file() or any(
        not (version / CONFIG).is_file() and not _versions(version) for version in _versions(folder)
    )


def check_repository(repository: Path, *, name: str | None = None) -> None:
    """Raise StorageError(BadLayout) for what Triton would only stumble over after it was started."""
    models = read_model_names(repository)
    if not models:
        raise _bad(repository, _why_no_model(repository), name)
    for model in models:
        _check_versions(repository / model, model)
        config_name = _name_of(repository / model)
        if config_name not in (None, "", model):
            fix = f'rename the folder to {config_name}, or write name: "{model}" in {model}/{CONFIG}'
            raise _bad(repository, f"folder {model} holds a model whose {CONFIG} says {config_name}: {fix}", name)


def _why_no_model(folder: Path) -> str:
    if not any(folder.iterdir()):
        return "the folder is empty: look whether the uri is right, and the upload complete"
    for child in _folders(folder):
        if models := read_model_names(child):
            return f"the model is one folder further down: add /{child.name} to the uri ({models[0]} is there)"
    if format_ := next((guess_format(path.name) for path in _files(folder) if guess_format(path.name)), ""):
        return f"if it is one model, write model.format: {format_}, and Forebay makes such a folder of it"
    if any(path.stem == "model" for path in _files(folder)):
        return "this is what belongs in a version's folder: let the uri name the folder of the model, two levels up"
    return "no folder in it holds a model: give each model a folder with a version's folder, 1, in it"


def _check_versions(folder: Path, model: str) -> None:
    if not _versions(folder):
        raise _bad(
            folder,
            f"model {model} has no version: put its files into {model}/1/ (for an ensemble a folder 1 with any file, "
            "since S3 keeps no empty folders)",
            model,
        )


def _bad(folder: Path, what: str, name: str | None) -> StorageError:
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    shown = [path.name + ("/" if path.is_dir() else "") for path in entries if not path.name.startswith(".")]
    more = f", and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    found = f"\nwhat is there: {', '.join(shown[:MOST_SHOWN])}{more}" if shown else ""
    return StorageError(Reason.BAD_LAYOUT, f"{what}{EXPECTED_TREE.format(name=name or 'digits')}{found}")


def _name_of(folder: Path) -> str | None:
    config = folder / CONFIG
    return read_config_name(config.read_text("utf-8", errors="replace")) if config.is_file() else None


def _versions(folder: Path) -> list[Path]:
    return [path for path in _folders(folder) if path.name.isascii() and path.name.isdigit()]


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def _seen_from(parent: Path, target: Path) -> Path:
    # Relative where both lie in one volume, which another container may mount elsewhere.
    near = target.parent in (parent, parent.parent)
    return Path(*[".."] * (len(parent.parts) - len(target.parent.parts)), target.name) if near else target.absolute()


def _link_model(repository: Path, name: str, target: Path) -> None:
    link = repository / name
    # What is right already stays: a server may be reading it.
    alone = repository.is_dir() and not repository.is_symlink() and list(repository.iterdir()) == [link]
    if alone and link.is_symlink() and link.readlink() == target:
        return
    _make_way(repository)
    repository.mkdir()
    link.symlink_to(target)


def _link_whole(repository: Path, target: Path) -> None:
    if repository.is_symlink() and repository.readlink() == target:
        return
    _make_way(repository)
    repository.symlink_to(target)


def _make_way(path: Path) -> None:
    """Remove what an earlier, different source left there. The folder only ever holds a link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
