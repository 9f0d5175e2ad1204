"""Brings a model's files to a folder of this machine."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forebay.serving.storage import archive, local
from forebay.serving.storage.content import build_digest, list_files, read_digest, require_digest
from forebay.serving.storage.download import Download
from forebay.serving.storage.errors import Reason, StorageError, from_os_error, redact
from forebay.serving.storage.journal import Journal
from forebay.serving.storage.paths import check_paths
from forebay.serving.storage.place import Place, drop_strangers, sizes_of
from forebay.serving.storage.progress import Meter, OnProgress
from forebay.serving.storage.retry import LIST_TRIES, retried
from forebay.serving.storage.source import Listing, Source
from forebay.serving.storage.sources import open_source
from forebay.serving.storage.sums import SHA256

_GIT, _FILE = "git+https://", "file:"


@dataclass(frozen=True)
class Fetched:
    """Where the files lie, their size in bytes, and whether they were there already."""

    path: Path
    bytes: int
    cached: bool


def fetch(uri: str, dest: Path, on_progress: OnProgress | None = None, *, allow_loopback: bool = False) -> Path:
    """Bring what `uri` names to `dest`, and answer where it lies: `dest`, or for file: the path itself.

    `allow_loopback` is for the user's own machine: in a pod, no address of a manifest may lead to the pod itself.

    Another call with an unchanged source downloads nothing. Beside `dest` lie DEST.lock and, until a download is
    complete, DEST.partial, from which the next call goes on. Raises StorageError.
    """
    return fetch_model(uri, dest, on_progress, allow_loopback=allow_loopback).path


def fetch_model(
    uri: str, dest: Path, on_progress: OnProgress | None = None, *, allow_loopback: bool = False, digest: str = ""
) -> Fetched:
    """As `fetch`, and says what it did. With a `digest` no other content is accepted (DigestMismatch)."""
    if uri.startswith(_FILE):
        return in_place(uri, local.find(uri), digest)
    place = Place(dest.absolute())
    if uri.startswith(_GIT):
        return _fetch_git(uri, place, allow_loopback=allow_loopback)
    source = open_source(uri, allow_loopback=allow_loopback)
    try:
        with place.locked():
            # With or without a slash at the end it is the same prefix.
            return _bring(_Wanted(uri.rstrip("/"), digest), source, place, on_progress)
    except OSError as error:
        raise from_os_error(error, place.dest.parent) from error
    finally:
        source.close()


def _fetch_git(uri: str, place: Place, *, allow_loopback: bool) -> Fetched:
    from forebay.serving.storage.git import fetch_git  # noqa: PLC0415  (dulwich takes a moment)

    try:
        with place.locked():
            cached = fetch_git(uri, place, allow_loopback=allow_loopback)
            return Fetched(place.dest, sum(sizes_of(place.dest).values()), cached=cached)
    except OSError as error:
        raise from_os_error(error, place.dest.parent) from error


@dataclass(frozen=True)
class _Wanted:
    """An address, and the digest that its content must have: empty where nobody says."""

    uri: str
    digest: str

    def require(self, found: str, names: Mapping[str, object]) -> None:
        require_digest(found, self.digest, where=redact(self.uri), names=names)


def in_place(uri: str, path: Path, digest: str) -> Fetched:
    """A model that is used where it lies. With a digest all of it is read, each time."""
    if digest:
        require_digest(read_digest(path), digest, where=redact(uri), names=list_files(path))
    return Fetched(path, 0, cached=True)


def _bring(wanted: _Wanted, source: Source, place: Place, on_progress: OnProgress | None) -> Fetched:
    listing = retried(source.find, tries=LIST_TRIES)
    if place.is_current(wanted.uri, listing):
        if wanted.digest:
            wanted.require(place.read_digest(), list_files(place.dest))
        return Fetched(place.dest, sum(sizes_of(place.dest).values()), cached=True)
    found = fetch_tree(source, listing, place, on_progress, with_digest=bool(wanted.digest))
    if wanted.digest:
        wanted.require(found, dict.fromkeys(item.path for item in listing.items))
    return Fetched(place.dest, place.switch(wanted.uri, listing, digest=found), cached=False)


def fetch_tree(
    source: Source, listing: Listing, place: Place, on_progress: OnProgress | None, *, with_digest: bool = False
) -> str:
    """Bring all that is listed to `place.tree`, archives unpacked; the content's digest, where it is asked for.

    Raises StorageError or OSError.
    """
    check_paths(listing, "the source")
    packed = any(item.packed for item in listing.items)
    folder = place.packed if packed else place.tree
    sums = _download(source, listing, folder, _Reporting(place, on_progress, with_digest=with_digest))
    if packed:
        _unpack(listing, folder, place.tree)
    if not with_digest:
        return ""
    # Of an archive it is the content that counts.
    return read_digest(place.tree) if packed else build_digest(sums)


def _unpack(listing: Listing, folder: Path, tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    # Plain files first: an archive looks before it writes.
    for item in sorted(listing.items, key=lambda each: each.packed):
        try:
            if item.packed:
                archive.unpack(folder / item.path, item.path, tree)
            else:
                (tree / item.path).parent.mkdir(parents=True, exist_ok=True)
                (tree / item.path).hardlink_to(folder / item.path)
        except (FileExistsError, NotADirectoryError) as error:
            raise StorageError(
                Reason.BAD_LAYOUT,
                f"{item.path} holds a file where another part of the model has a folder, or the other way round "
                f"({error.filename}): pack the model anew, from its folder alone",
            ) from error


@dataclass(frozen=True)
class _Reporting:
    """Where a download keeps its journal, whom it tells, and whether it takes every file's sha256."""

    place: Place
    on_progress: OnProgress | None
    with_digest: bool


def _download(source: Source, listing: Listing, folder: Path, reporting: _Reporting) -> dict[str, str]:
    """The files' sha256 by path, where they were asked for."""
    place = reporting.place
    folder.mkdir(parents=True, exist_ok=True)
    place.check_space(listing)
    drop_strangers(folder, listing)
    journal = Journal(place.journal)
    meter = Meter(reporting.on_progress, bytes_total=listing.total, files_total=len(listing.items))
    try:
        download = Download(source, folder, journal, meter)
        return download.run(listing, also=(SHA256,) if reporting.with_digest else ())
    finally:
        journal.close()
        meter.finish()
