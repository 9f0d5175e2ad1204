"""Object stores have no folders: a prefix is taken for one, as people mean it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from forebay.serving.storage import nearest
from forebay.serving.storage.errors import Reason, StorageError
from forebay.serving.storage.source import Item, Listing

MOST_SIBLINGS = 1000
MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store. `size` in bytes; a key that ends with / is an empty folder."""

    key: str
    size: int
    etag: str


def find_under(
    address: str,
    prefix: str,
    list_objects: Callable[[str], Iterable[Entry]],
    list_names: Callable[[str], list[str]],
) -> Listing:
    """The objects under a prefix, or else the one object of that name. `address` is the store's, without the prefix.

    Raises StorageError(NotFound) with what was probably meant, of the names that are found under a folder.
    """
    folder = f"{prefix}/" if prefix else ""
    found = _take(list_objects(folder), f"{address}/{prefix}") or [
        entry for entry in _take(list_objects(prefix), f"{address}/{prefix}") if entry.key == prefix
    ]
    items = tuple(
        Item(_path_of(entry.key, prefix, folder), entry.key, entry.size, entry.etag)
        for entry in found
        if not entry.key.endswith("/")
    )
    if not items:
        raise _not_found(address, prefix, list_names)
    folders = tuple(
        entry.key.removeprefix(folder).rstrip("/") for entry in found if entry.key.endswith("/") and entry.key != folder
    )
    return Listing(items, folders)


def _take(entries: Iterable[Entry], where: str) -> list[Entry]:
    """All of a listing, as long as it fits into memory. Raises StorageError(BadLayout)."""
    found = list(islice(entries, MOST_FILES + 1))
    if len(found) > MOST_FILES:
        raise too_many(where)
    return found


def too_many(where: str) -> StorageError:
    """Say that a listing is no model's."""
    return StorageError(
        Reason.BAD_LAYOUT,
        f"{where} has more than {MOST_FILES} files: let the uri name the folder of one model, or pack its files into "
        "an archive",
    )


def _not_found(address: str, prefix: str, list_names: Callable[[str], list[str]]) -> StorageError:
    guess, paths = nearest.suggest(prefix, list_names, lambda path: bool(list_names(path)))
    hint = nearest.phrase(guess=guess, places=[f"{address}/{path}" for path in paths])
    return StorageError(Reason.NOT_FOUND, f"{address}/{prefix} has no objects; {hint}")


def names_under(parent: str, keys: Iterable[str]) -> list[str]:
    """The names directly under a parent, of the keys that a store lists there."""
    return list(_names(f"{parent}/" if parent else "", keys))


def _names(prefix: str, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        if name := key.removeprefix(prefix).rstrip("/"):
            yield name


def _path_of(key: str, prefix: str, folder: str) -> str:
    return prefix.rpartition("/")[2] if key == prefix else key.removeprefix(folder)
