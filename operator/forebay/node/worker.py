"""`python -m forebay.node.worker`: lists and downloads one source, with one volume's credentials in its environment."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forebay.node.errand import begin, say
from forebay.serving.storage.errors import StorageError, from_os_error
from forebay.serving.storage.fetch import fetch_tree
from forebay.serving.storage.paths import check_paths
from forebay.serving.storage.place import Place
from forebay.serving.storage.progress import Progress
from forebay.serving.storage.retry import LIST_TRIES, retried
from forebay.serving.storage.source import Item, Listing, Source
from forebay.serving.storage.sources import open_source


def main() -> int:
    """List, and where it is asked to, download what isn't to be skipped; otherwise make sure that one could."""
    asked = begin()
    if asked["token"]:
        os.environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = _hold(asked["token"])
    to = Path(asked["to"]) if asked.get("to") else None
    try:
        source = open_source(asked["uri"], allow_loopback=asked["allow_loopback"])
        try:
            listing = retried(source.find, tries=LIST_TRIES)
            check_paths(listing, "the source")
            if to is None:
                retried(lambda: _prove_readable(source, listing), tries=LIST_TRIES)
            else:
                _fetch(source, listing, Place(to), asked["skip"])
        finally:
            source.close()
    except StorageError as error:
        say(event="error", reason=str(error.reason.value), message=error.message)
        return 1
    except OSError as error:
        told = from_os_error(error, to.parent if to else Path("/"))
        say(event="error", reason=str(told.reason.value), message=told.message)
        return 1
    say(event="listing", items=[asdict(item) for item in listing.items], folders=listing.folders)
    return 0


def _hold(token: str) -> str:
    """A file that this process alone can open, as boto3 wants one: the user's other workers are of other pods."""
    held = os.memfd_create("token")
    os.write(held, token.encode())
    return f"/proc/self/fd/{held}"


def _prove_readable(source: Source, listing: Listing) -> None:
    """Who may list may not be one who may read, as with a gated model of Hugging Face: what the node has already is
    for those alone who could download it. Raises StorageError.
    """
    some = [item for item in listing.items if item.size]
    if some:
        least = min(some, key=lambda item: item.size or 0)
        next(iter(source.read(least, 0, 1 if least.ranged else None)), None)


def _fetch(source: Source, listing: Listing, place: Place, skip: list[list[Any]]) -> None:
    known = {(path, etag, size) for path, etag, size in skip}
    missing = tuple(item for item in listing.items if (item.path, item.etag, item.size) not in known)
    with place.locked():
        fetch_tree(source, Listing(missing, listing.folders), place, _report)


def read_listing(event: dict[str, Any]) -> Listing:
    """What a worker listed, from its JSON line."""
    return Listing(tuple(Item(**item) for item in event["items"]), tuple(event["folders"]))


def _report(progress: Progress) -> None:
    say(event="progress", **asdict(progress))


if __name__ == "__main__":
    sys.exit(main())
