"""file:PATH: files of this machine, used where they lie."""

from pathlib import Path
from urllib.parse import unquote

from forebay.serving.storage import nearest
from forebay.serving.storage.errors import Reason, StorageError, split


def find(uri: str) -> Path:
    """The absolute path that a file: address names. Raises StorageError: UnsupportedURI, NotFound or AccessDenied."""
    parts = split(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise StorageError(
            Reason.UNSUPPORTED_URI,
            f"{uri} is not absolute: write file:/PATH with three slashes or one (`forebay serve` makes relative paths "
            "absolute itself)",
        )
    raw = uri.removeprefix("file:").removeprefix("//localhost") if parts.netloc else uri.removeprefix("file:")
    literal = Path("/" + raw.lstrip("/"))
    path = literal if literal.exists() else Path(unquote(str(literal)))
    try:
        path.stat()
        if path.is_dir():
            next(path.iterdir(), None)
    except FileNotFoundError as error:
        guess, paths = nearest.suggest(str(path), _children, lambda name: Path("/", name).exists())
        hint = nearest.phrase(guess=guess, places=[f"file:/{name}" for name in paths])
        raise StorageError(Reason.NOT_FOUND, f"file:{path} does not exist; {hint}") from error
    except NotADirectoryError as error:
        raise StorageError(Reason.NOT_FOUND, f"file:{path} goes on behind a file: correct the uri") from error
    except PermissionError as error:
        raise StorageError(
            Reason.ACCESS_DENIED, f"file:{path} may not be read by this user: chmod -R a+rX {path}"
        ) from error
    return path


def _children(parent: str) -> list[str]:
    try:
        return sorted(path.name for path in Path("/", parent).iterdir())
    except OSError:
        return []
