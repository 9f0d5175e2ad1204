"""Fills a volume with a script's libraries: installed once for all pods that ask alike, with the same credentials.

They are kept by the credentials, too: what an index lets one user have is no other's, and to ask it anew for each pod
would take as long as the download that is saved. The kept ones are those that these very credentials brought.
"""

import hmac
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from forebay.node.child import Cancel, Workers
from forebay.node.counts import Counts
from forebay.node.credentials import OF_INDEX, build_index_environment
from forebay.node.flights import Flight, Flights, slot
from forebay.node.store import Store
from forebay.node.volumes import Asked, Volume
from forebay.serving.environments.environment import Environment
from forebay.serving.environments.errors import InstallError, Reason
from forebay.serving.storage.errors import StorageError
from forebay.serving.storage.place import Place
from forebay.serving.storage.progress import Progress

# Each takes all of a core.
INSTALLS = 2
# What was found may be evicted before it is used.
_TRIES = 3


@dataclass(frozen=True)
class _Wanted:
    """An environment, the variables with which it is installed, and what it is kept by."""

    environment: Environment
    variables: Mapping[str, str]
    name: str


class Environments:
    """Brings environments."""

    def __init__(self, store: Store, workers: Workers, counts: Counts) -> None:
        self._store, self._workers, self._counts = store, workers, counts
        self._flights, self._installs = Flights(), threading.Semaphore(INSTALLS)

    def fill(self, volume: Volume, asked: Asked, secret: Mapping[str, str], cancel: Cancel) -> None:
        """Make the volume's files. Raises InstallError, StorageError, OSError or Cancelled."""
        environment, variables = Environment(asked.requirements, asked.index), build_index_environment(secret)
        wanted = _Wanted(environment, variables, _name(environment, variables, self._store.secret))
        for last in (*[False] * (_TRIES - 1), True):
            try:
                self._bring(volume, asked, wanted, cancel)
            except FileNotFoundError:
                if last:
                    raise
            else:
                return

    def _bring(self, volume: Volume, asked: Asked, wanted: _Wanted, cancel: Cancel) -> None:
        folders = self._store.folders
        if folders.has(wanted.name):
            self._show(volume, wanted, hit=True)
            return
        with self._flights.turn(wanted.name, volume.tell_progress, cancel) as flight:
            if folders.has(wanted.name):
                self._show(volume, wanted, hit=True)
                return
            with slot(self._installs, cancel, volume):
                place = self._prepare(wanted)
                with self._store.room(wanted.name, 0), _cleared(place):
                    self._install(place, wanted, (volume, flight, cancel))
                    self._counts.downloaded(folders.add(wanted.name, place.dest, asked.title))
                    self._show(volume, wanted, hit=False)

    def _prepare(self, wanted: _Wanted) -> Place:
        """Let the worker go on where another was."""
        folder = self._store.downloads / wanted.name
        folder.mkdir(exist_ok=True)
        user = self._workers.user
        if user is not None and os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user, user, follow_symlinks=False)
        return Place(folder / "environment")

    def _install(self, place: Place, wanted: _Wanted, who: tuple[Volume, Flight, Cancel]) -> None:
        volume, flight, cancel = who

        def follow(progress: Progress) -> None:
            flight.progress = progress
            volume.tell_progress(progress)

        usage = self._store.measure()
        asked = {
            "to": str(place.dest),
            "requirements": wanted.environment.requirements,
            "index": wanted.environment.index_url,
            "most_bytes": self._store.limit_bytes - (usage.bytes - usage.idle_bytes),
        }
        self._workers.install(asked, wanted.variables, cancel, follow)

    def _show(self, volume: Volume, wanted: _Wanted, *, hit: bool) -> None:
        new, folders = volume.folder / "new", self._store.folders
        shutil.rmtree(new, ignore_errors=True)
        size = folders.link(wanted.name, new)
        try:
            # It is in use by now: what makes room is another.
            self._store.make_room()
        except StorageError:
            shutil.rmtree(new)
            folders.drop(wanted.name)
            raise
        volume.show(new)
        self._counts.filled(hit=hit)
        volume.tell_complete(size, hit=hit, model=wanted.name)


@contextmanager
def _cleared(place: Place) -> Iterator[None]:
    """Leave nothing there, unless the next may go on with it."""
    try:
        yield
    except (StorageError, InstallError) as error:
        if str(error.reason.value) == Reason.DISK_FULL.value:
            shutil.rmtree(place.dest.parent, ignore_errors=True)
        raise
    shutil.rmtree(place.dest.parent, ignore_errors=True)


def _name(environment: Environment, variables: Mapping[str, str], secret: bytes) -> str:
    """What an environment is kept by. Nobody who reads it can try passwords on it."""
    facts = [environment.digest(), [variables.get(name, "") for name in OF_INDEX]]
    return hmac.digest(secret, json.dumps(facts).encode(), "sha256").hex()
