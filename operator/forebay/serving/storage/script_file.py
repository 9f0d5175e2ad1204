"""The script among the files of an address."""

import difflib
from pathlib import Path

from forebay.serving.storage.errors import Reason, StorageError, redact

_MOST_SHOWN = 8


def check_script(folder: Path, path: str, uri: str) -> None:
    """Raise StorageError(NotFound) where a folder holds no file of that path, with those that it does hold."""
    if (folder / path).resolve().is_relative_to(folder.resolve()) and (folder / path).is_file():
        return
    there = sorted(str(each.relative_to(folder)) for each in folder.rglob("*.py"))
    near = difflib.get_close_matches(path, there, n=3)
    hint = (
        f"did you mean {' or '.join(near)}?" if near else f"its scripts are {', '.join(there[:_MOST_SHOWN]) or 'none'}"
    )
    raise StorageError(Reason.NOT_FOUND, f"{redact(uri)} has no {path}: {hint}")
