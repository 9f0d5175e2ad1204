"""Which of the files that were fetched is the model."""

from collections.abc import Sequence
from pathlib import Path

from forebay.serving.formats.errors import bad_format

MOST_SHOWN = 8


def list_names(folder: Path) -> list[str]:
    """What lies in a folder, sorted, less what is hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def find_file(source: Path, suffixes: Sequence[str]) -> Path:
    """The one file of these suffixes, or the one file at all: an address may hide its name.

    Raises StorageError(BadFormat) where there is none, or several of which none is called model; OSError.
    """
    if source.is_file():
        return source
    files = [source / name for name in list_names(source) if (source / name).is_file()]
    fitting = [path for path in files if path.suffix.lower() in suffixes] or (files if len(files) == 1 else [])
    if len(fitting) > 1:
        fitting = [path for path in fitting if path.stem == "model"] or fitting
    if len(fitting) == 1:
        return fitting[0]
    wanted = " or ".join(f"*{suffix}" for suffix in suffixes)
    if fitting:
        several = ", ".join(path.name for path in fitting[:MOST_SHOWN])
        raise bad_format(f"there are several files {wanted} ({several}): let the uri name the one to serve")
    raise bad_format(f"there is no file {wanted}{_describe(source, suffixes)}")


def _describe(source: Path, suffixes: Sequence[str]) -> str:
    for name in list_names(source):
        folder = source / name
        if folder.is_dir() and any(path.suffix.lower() in suffixes for path in folder.iterdir()):
            return f": it lies one folder further down. Add /{name} to the uri"
    names = [name + ("/" if (source / name).is_dir() else "") for name in list_names(source)]
    more = f", and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"; what is there: {', '.join(names[:MOST_SHOWN])}{more}" if names else ": the folder is empty"
