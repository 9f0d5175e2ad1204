"""`python -m forebay.node.worker`: lists and downloads one source, with one volume's credentials in its environment.

A process of its own, as nobody in particular: what comes from a source is read where neither the node nor the
credentials of others are. It takes a JSON object on stdin and ends when stdin does; on stdout are JSON lines.
"""

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forebay.serving.storage.errors import StorageError, from_os_error
from forebay.serving.storage.fetch import fetch_tree
from forebay.serving.storage.paths import check_paths
from forebay.serving.storage.place import Place
from forebay.serving.storage.progress import Progress
from forebay.serving.storage.retry import LIST_TRIES, retried
from forebay.serving.storage.source import Item, Listing, Source
from forebay.serving.storage.sources import open_source

_ORPHANED = 128 + signal.SIGHUP


def main() -> int:
    """List, and where it is asked to, download what isn't to be skipped."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    _become(asked["user"])
    threading.Thread(target=_end_with_agent, daemon=True).start()
    to = Path(asked["to"]) if asked.get("to") else None
    try:
        source = open_source(asked["uri"], allow_loopback=asked["allow_loopback"])
        try:
            listing = retried(source.find, tries=LIST_TRIES)
            check_paths(listing, "the source")
            if to is not None:
                _fetch(source, listing, Place(to), asked["skip"])
        finally:
            source.close()
    except StorageError as error:
        _say(event="error", reason=str(error.reason.value), message=error.message)
        return 1
    except OSError as error:
        told = from_os_error(error, to.parent if to else Path("/"))
        _say(event="error", reason=str(told.reason.value), message=told.message)
        return 1
    _say(event="listing", items=[asdict(item) for item in listing.items], folders=listing.folders)
    return 0


def _become(user: int | None) -> None:
    """Give up all that root may, for good."""
    if user is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def _fetch(source: Source, listing: Listing, place: Place, skip: list[list[Any]]) -> None:
    known = {(path, etag, size) for path, etag, size in skip}
    missing = tuple(item for item in listing.items if (item.path, item.etag, item.size) not in known)
    with place.locked():
        fetch_tree(source, Listing(missing, listing.folders), place, _report)


def read_listing(event: dict[str, Any]) -> Listing:
    """What a worker listed, from its JSON line."""
    return Listing(tuple(Item(**item) for item in event["items"]), tuple(event["folders"]))


def _end_with_agent() -> None:
    sys.stdin.read()
    os._exit(_ORPHANED)


def _report(progress: Progress) -> None:
    _say(event="progress", **asdict(progress))


def _say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
