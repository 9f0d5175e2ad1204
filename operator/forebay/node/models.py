"""Fills a volume with a model: what the node has is linked, the rest is downloaded once for all who wait for it."""

import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from forebay.node.child import Cancel, Workers
from forebay.node.counts import Counts
from forebay.node.credentials import build_environment, check_endpoints
from forebay.node.flights import Flight, Flights, slot
from forebay.node.identity import find_origin, identify, identify_listing, name_download
from forebay.node.roles import Roles
from forebay.node.store import Store
from forebay.node.trees import Known, Tree, take_in
from forebay.node.volumes import Asked, Volume
from forebay.serving.storage.content import require_digest
from forebay.serving.storage.errors import Reason, StorageError, redact
from forebay.serving.storage.place import Place
from forebay.serving.storage.progress import Progress
from forebay.serving.storage.source import Item, Listing

LISTINGS = 4
# What was found may be evicted, and a source may change, before it is used.
_TRIES = 3
# A digest that is wrong stays so until somebody looks: the kubelet asks again each minute, and a model may be large.
_REFUSED_S = 600.0


class Models:
    """Brings models. `downloads` are let run at once; listings, which are short, never wait for them."""

    def __init__(self, store: Store, workers: Workers, roles: Roles, counts: Counts, *, downloads: int) -> None:
        self.flights = Flights()
        self._store, self._workers, self._roles, self._counts = store, workers, roles, counts
        self._listings, self._downloads = threading.Semaphore(LISTINGS), threading.Semaphore(downloads)
        # By download and digest: what was no such content, until when, and how that was told. Replaced, never changed.
        self._refused: dict[tuple[str, str], tuple[float, str]] = {}

    def fill(self, volume: Volume, asked: Asked, secret: Mapping[str, str], cancel: Cancel) -> None:
        """Make the volume's files. Raises StorageError, OSError or Cancelled."""
        environment = build_environment(secret)
        check_endpoints(environment, allow_loopback=self._workers.allow_loopback)
        role = self._roles.find(asked, secret)
        environment |= {"AWS_ROLE_ARN": role.arn} if role.arn else {}
        source = _Source(asked, environment, find_origin(asked.uri, environment), role.token)
        for last in (*[False] * (_TRIES - 1), True):
            # With the volume's own credentials, whatever is there already.
            with slot(self._listings, cancel):
                listing = self._workers.run(source.request, environment, cancel)
            try:
                self._bring(volume, source, listing, cancel)
            except FileNotFoundError:
                if last:
                    raise
            else:
                return

    def _bring(self, volume: Volume, source: "_Source", listing: Listing, cancel: Cancel) -> None:
        if self._show_known(volume, source, listing, cancel):
            return
        name = name_download(source.origin, source.asked.uri, listing)
        with self.flights.turn(name, volume.tell_progress, cancel) as flight:
            if self._show_known(volume, source, listing, cancel):
                return
            self._check_refused(name, source)
            with slot(self._downloads, cancel, volume):
                folder = self._store.downloads / name
                listing, fetched = self._download(source, listing, folder, (volume, flight, cancel))
                try:
                    tree = self._keep(source, listing, fetched, name)
                    with self._room_to_show(folder):
                        self._show(volume, source, tree, cancel, hit=False)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, source: "_Source", listing: Listing, fetched: Tree, name: str) -> Tree:
        try:
            return source.keep(self._store.known, listing, fetched)
        except StorageError as error:
            # Where a part was here already, that may be what is wrong.
            if all(item.packed or item.path in fetched.files for item in listing.items):
                until_s = time.monotonic() + _REFUSED_S
                self._refused = {**self._refused, (name, source.asked.digest): (until_s, error.message)}
            raise

    def _check_refused(self, name: str, source: "_Source") -> None:
        """Raises StorageError(DigestMismatch) where the same was downloaded a short time ago, and was another."""
        now_s = time.monotonic()
        self._refused = {key: each for key, each in self._refused.items() if each[0] > now_s}
        if found := self._refused.get((name, source.asked.digest)):
            raise StorageError(Reason.DIGEST_MISMATCH, found[1])

    def _show_known(self, volume: Volume, source: "_Source", listing: Listing, cancel: Cancel) -> bool:
        """Show what the node has, if that is all. What isn't what the ModelVersion says may be so here alone."""
        tree = source.find(self._store.known, listing)
        if tree is None or not tree.is_in(self._store.blobs):
            return False
        if not source.is_wanted(tree):
            source.forget(self._store.known, listing)
            return False
        self._show(volume, source, tree, cancel, hit=True)
        return True

    @contextmanager
    def _room_to_show(self, folder: Path) -> Iterator[None]:
        """Make room for what came of a download. Its folder stays meanwhile, so that nothing of it is evicted."""
        try:
            with self._store.room(folder.name, 0):
                yield
        except StorageError:
            # An archive that is larger than it looked: out with it, and nothing else is in the way.
            shutil.rmtree(folder)
            self._store.make_room()
            raise

    def _download(
        self, source: "_Source", listing: Listing, folder: Path, who: tuple[Volume, Flight, Cancel]
    ) -> tuple[Listing, Tree]:
        """Fetch what is missing into the store; what the source lists by then, and what was fetched of it."""
        volume, flight, cancel = who
        known, blobs = self._store.known, self._store.blobs
        have = [item for item in listing.items if (tree := source.find_item(known, item)) and tree.is_in(blobs)]
        missing = [item.size or 0 for item in listing.items if item not in have]
        place = Place(folder / "model")
        self._prepare(folder)

        def follow(progress: Progress) -> None:
            flight.progress = progress
            volume.tell_progress(progress)

        with self._store.room(folder.name, sum(missing)):
            asked = {**source.request, "to": str(place.dest), "skip": [[i.path, i.etag, i.size] for i in have]}
            listing = self._workers.run(asked, source.environment, cancel, follow)
            fetched = take_in(place.tree, blobs, cancel.check)
            # It is unpacked, and would be counted beside its files.
            shutil.rmtree(place.packed, ignore_errors=True)
        self._counts.downloaded(sum(blobs.find(name).stat().st_size for name in fetched.files.values()))
        return listing, fetched

    def _prepare(self, folder: Path) -> None:
        """Let the worker go on where another was: what is in the store already is taken out of its hands."""
        folder.mkdir(exist_ok=True)
        user = self._workers.user
        for path in (folder, *folder.rglob("*")):
            is_file = path.is_file() and not path.is_symlink()
            if is_file and path.stat().st_nlink > 1:
                path.unlink()
                continue
            if user is not None and os.geteuid() == 0:
                os.chown(path, user, user, follow_symlinks=False)
            if is_file:
                self._store.blobs.give_back(path)

    def _show(self, volume: Volume, source: "_Source", tree: Tree, cancel: Cancel, *, hit: bool) -> None:
        # The volume may be gone, and isn't to come back.
        cancel.check()
        new = volume.folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        try:
            size = tree.build(self._store.blobs, new, cancel.check)
            volume.show(new)
        except BaseException:
            # Its links are a use of the files.
            shutil.rmtree(new, ignore_errors=True)
            raise
        model = self._store.catalog.keep(source.origin, source.asked.uri, tree, size)
        self._counts.filled(hit=hit)
        volume.tell_complete(size, hit=hit, model=model)


class _Source:
    """An address as one volume's credentials see it."""

    def __init__(self, asked: Asked, environment: Mapping[str, str], origin: str, token: str) -> None:
        self.asked, self.environment, self.origin = asked, environment, origin
        self.request = {"uri": asked.uri, "token": token}
        self._scheme = urlsplit(asked.uri).scheme

    def find(self, known: Known, listing: Listing) -> Tree | None:
        """What the node has of it, if that is all."""
        if any(item.packed for item in listing.items):
            return known.get(identify_listing(self._scheme, self.origin, listing))
        files = {}
        for item in listing.items:
            tree = self.find_item(known, item)
            if tree is None:
                return None
            files[item.path] = tree.files[Known.FILE]
        return Tree(files, folders=[*listing.folders])

    def find_item(self, known: Known, item: Item) -> Tree | None:
        """What the node has of one file; archives count as a whole alone."""
        return None if item.packed else known.get(identify(self._scheme, self.origin, item))

    def keep(self, known: Known, listing: Listing, fetched: Tree) -> Tree:
        """Keep what was fetched by what the source says of it, and answer the whole.

        Raises StorageError(DigestMismatch), and keeps none of it, where that isn't what the ModelVersion says;
        FileNotFoundError where a part of it was evicted meanwhile.
        """
        if any(item.packed for item in listing.items):
            tree = Tree(fetched.files, fetched.links, [*fetched.folders, *listing.folders])
            self._check_digest(known, listing, tree)
            known.keep(identify_listing(self._scheme, self.origin, listing), tree)
            return tree
        files = {item.path: fetched.files[item.path] for item in listing.items if item.path in fetched.files}
        for item in listing.items:
            if item.path not in files and (there := self.find_item(known, item)):
                files[item.path] = there.files[Known.FILE]
        tree = Tree(files, folders=[*listing.folders])
        lost = [item.path for item in listing.items if item.path not in files]
        if not lost:
            self._check_digest(known, listing, tree)
        for item in listing.items:
            if item.path in fetched.files:
                known.keep(identify(self._scheme, self.origin, item), Tree({Known.FILE: files[item.path]}))
        if lost:
            raise FileNotFoundError(lost[0])
        return tree

    def is_wanted(self, tree: Tree) -> bool:
        """Whether the content is what the ModelVersion says, if there is one that does."""
        return self.asked.digest in ("", tree.digest)

    def forget(self, known: Known, listing: Listing) -> None:
        """Let all of it be downloaded anew."""
        known.forget(identify_listing(self._scheme, self.origin, listing))
        for item in listing.items:
            known.forget(identify(self._scheme, self.origin, item))

    def _check_digest(self, known: Known, listing: Listing, tree: Tree) -> None:
        if not self.is_wanted(tree):
            # What was here already may be what is wrong.
            self.forget(known, listing)
            require_digest(tree.digest, self.asked.digest, where=redact(self.asked.uri), names=tree.files)
