"""Brings a model's files to a folder of this machine."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forebay.serving.storage import archive, local, mounted
from forebay.serving.storage.download import WORKERS, Download
from forebay.serving.storage.errors import Reason, StorageError, from_os_error
from forebay.serving.storage.https import HttpsSource
from forebay.serving.storage.journal import Journal
from forebay.serving.storage.mlflow import MlflowSource
from forebay.serving.storage.oci import OciSource
from forebay.serving.storage.place import Place, drop_strangers, sizes_of
from forebay.serving.storage.progress import Meter, OnProgress
from forebay.serving.storage.retry import LIST_TRIES, retried
from forebay.serving.storage.source import Listing, Source, check_paths

# Addresses may carry a fragment or a signature, so they are matched by their beginning alone.
_S3, _GS, _AZ, _HF, _FILE = "s3://", "gs://", "az://", "hf://", "file:"
_OVER_HTTP: dict[str, Callable[..., Source]] = {
    "oci://": OciSource,
    "https://": HttpsSource,
    "mlflow-artifacts:/": MlflowSource,
}


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
    uri: str, dest: Path, on_progress: OnProgress | None = None, *, allow_loopback: bool = False
) -> Fetched:
    """As `fetch`, and says what it did."""
    if uri.startswith(_FILE):
        return Fetched(local.find(uri), 0, cached=True)
    place = Place(dest.absolute())
    source = _open(uri, allow_loopback=allow_loopback)
    try:
        with place.locked():
            # With or without a slash at the end it is the same prefix.
            return _bring(uri.rstrip("/"), source, place, on_progress)
    except OSError as error:
        raise from_os_error(error, place.dest.parent) from error
    finally:
        source.close()


def _open(uri: str, *, allow_loopback: bool) -> Source:
    if uri.startswith(_S3):
        from forebay.serving.storage.s3 import S3Source  # noqa: PLC0415  (boto3 takes half a second)

        return S3Source(uri, connections=WORKERS)
    if uri.startswith(_GS):
        from forebay.serving.storage.gs import GsSource  # noqa: PLC0415  (as slow)

        return GsSource(uri, connections=WORKERS)
    if uri.startswith(_AZ):
        from forebay.serving.storage.az import AzSource  # noqa: PLC0415  (as slow)

        return AzSource(uri)
    if uri.startswith(_HF):
        from forebay.serving.storage.hf import HfSource  # noqa: PLC0415  (as slow)

        return HfSource(uri, connections=WORKERS, allow_loopback=allow_loopback)
    for scheme, kind in _OVER_HTTP.items():
        if uri.startswith(scheme):
            return kind(uri, connections=WORKERS, allow_loopback=allow_loopback)
    if uri.startswith(mounted.SCHEMES):
        raise StorageError(
            Reason.UNSUPPORTED_URI, f"{uri} is a volume that a pod mounts: mount it, and say where by --mounted-at"
        )
    scheme = uri.partition(":")[0]
    raise StorageError(
        Reason.UNSUPPORTED_URI,
        f"{scheme}: is no scheme that is understood: write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, "
        "az://ACCOUNT/CONTAINER/PREFIX, hf://ORG/MODEL, oci://REGISTRY/REPOSITORY:TAG, https://HOST/FILE or file:/PATH",
    )


def _bring(uri: str, source: Source, place: Place, on_progress: OnProgress | None) -> Fetched:
    listing = retried(source.find, tries=LIST_TRIES)
    if place.is_current(uri, listing):
        return Fetched(place.dest, sum(sizes_of(place.dest).values()), cached=True)
    check_paths(listing, "the source")
    packed = any(item.packed for item in listing.items)
    folder = place.packed if packed else place.tree
    _download(source, listing, folder, place, on_progress)
    if packed:
        _unpack(listing, folder, place.tree)
    return Fetched(place.dest, place.switch(uri, listing), cached=False)


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


def _download(source: Source, listing: Listing, folder: Path, place: Place, on_progress: OnProgress | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    place.check_space(listing)
    drop_strangers(folder, listing)
    journal = Journal(place.journal)
    meter = Meter(on_progress, bytes_total=listing.total, files_total=len(listing.items))
    try:
        Download(source, folder, journal, meter).run(listing)
    finally:
        journal.close()
        meter.finish()
