"""A Triton repository for one model that is a file or a folder: links to what was fetched, and a config.pbtxt."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.pbtxt"
VERSION = "1"


@dataclass(frozen=True)
class Layout:
    """What a model's folder holds: the config, and links by their paths in it."""

    config: str
    links: dict[str, Path]


def write_repository(repository: Path, name: str, layout: Layout) -> None:
    """Make the repository beside the download, never in it; one that is right already stays. Raises OSError.

    It appears whole: it is made under another name, and renamed.
    """
    repository.parent.mkdir(parents=True, exist_ok=True)
    links = {path: _seen_from(repository, f"{name}/{path}", target) for path, target in layout.links.items()}
    if _is_made(repository, name, layout.config, links):
        return
    made = Path(tempfile.mkdtemp(dir=repository.parent, prefix=f"{repository.name}."))
    try:
        made.chmod(0o755)
        folder = made / name
        for path, target in links.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(target)
        (folder / CONFIG).write_text(layout.config, "utf-8")
        _clear(repository)
        made.rename(repository)
    except OSError:
        # Somebody who serves the same may have been quicker.
        if not _is_made(repository, name, layout.config, links):
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _is_made(repository: Path, name: str, config: str, links: dict[str, Path]) -> bool:
    folder = repository / name
    try:
        return (
            not repository.is_symlink()
            and [path.name for path in repository.iterdir()] == [name]
            and (folder / CONFIG).read_text("utf-8") == config
            and {str(path.relative_to(folder)): path.readlink() for path in _find_links(folder)} == links
        )
    except (OSError, UnicodeDecodeError):
        return False


def _find_links(folder: Path) -> list[Path]:
    # Not by rglob, which in some Pythons goes on through links.
    found = []
    for path in folder.iterdir():
        if path.is_symlink():
            found.append(path)
        elif path.is_dir():
            found += _find_links(path)
    return found


def _seen_from(repository: Path, link: str, target: Path) -> Path:
    """Relative where both lie in one volume, which another container may mount elsewhere; else absolute."""
    near = target.is_relative_to(repository.parent)
    return Path(os.path.relpath(target, (repository / link).parent)) if near else target.absolute()


def _clear(path: Path) -> None:
    """Remove what an earlier, different model left there: links and a config, never a model."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
