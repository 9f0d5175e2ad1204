"""Installs the libraries of an environment into a folder: resolved, fetched, and switched in at the end."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from forebay.serving.environments.environment import Environment, check_brought, parse_requirements
from forebay.serving.environments.errors import InstallError, Reason
from forebay.serving.environments.installation import Installation
from forebay.serving.environments.uv import UvError
from forebay.serving.environments.uv_errors import explain
from forebay.serving.storage.addresses import Guard
from forebay.serving.storage.errors import StorageError, from_os_error
from forebay.serving.storage.place import MANIFEST, Place


@dataclass(frozen=True)
class Installed:
    """The folder that is to be on the import path, what is in it (NAME==VERSION), and whether it was there already."""

    path: Path
    packages: tuple[str, ...]
    cached: bool


def install(
    environment: Environment,
    into: Path,
    *,
    on_progress: Callable[[str], None] = lambda _line: None,
    cache: Path | None = None,
    allow_loopback: bool = False,
) -> Installed:
    """Bring the libraries of an environment to the folder `into`; raises InstallError.

    Only wheels are installed, so no code of a library runs. What the server itself runs on stays as it is, and isn't
    installed anew. A folder that holds just this environment is answered at once, with no index asked. Beside it lie
    INTO.lock and, until all is there, INTO.partial; any number of processes may do this at once. `cache` is a folder of
    wheels that other environments use too. `allow_loopback` is for the user's own machine, not a pod.
    """
    wanted = parse_requirements(environment.requirements)
    check_brought(wanted)
    place = Place(into.absolute())
    with _told_as_ours(place), place.locked():
        if (found := read_installed(place.dest, environment)) is not None:
            return found
        if environment.index_url:
            _check_index(environment.index_url, allow_loopback=allow_loopback)
        installation = Installation(environment, place, cache, on_progress)
        try:
            return Installed(place.dest, tuple(installation.run()), cached=False)
        except UvError as error:
            told = explain(error.text, wanted, environment.index_url, place.dest.parent)
            newest = installation.find_newest(told.package) if told.package else ""
            message = f"{told.message}. The newest that can be had here is {newest}" if newest else told.message
            raise InstallError(told.reason, message) from error


def read_installed(folder: Path, environment: Environment) -> Installed | None:
    """What an earlier call brought to a folder; None unless it is the whole of this very environment."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if manifest["digest"] == environment.digest():
            return Installed(folder, tuple(manifest["packages"]), cached=True)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _check_index(url: str, *, allow_loopback: bool) -> None:
    """Refuse an index where only this pod can reach it, as a folder of its own."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise InstallError(Reason.UNSUPPORTED_INDEX, f"{url} is no index: write https://HOST/PATH/simple")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        guard = Guard(url, allow_loopback=allow_loopback)
        guard.trace("connect_tcp.started", {"host": parts.hostname or "", "port": port})
    except StorageError as error:
        raise InstallError(Reason.UNSUPPORTED_INDEX, error.message) from error
    except ValueError as error:
        raise InstallError(Reason.UNSUPPORTED_INDEX, f"{url} is no address: {error}") from error


@contextlib.contextmanager
def _told_as_ours(place: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        told = from_os_error(error, place.dest.parent)
        raise InstallError(Reason(told.reason), told.message) from error
    except StorageError as error:
        raise InstallError(Reason.NOT_WRITABLE, error.message) from error
