"""Which versions of MLflow's registry the ModelDeployments name: asked at an interval, beside the work on them."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from forebay.kube.holdings import Owner
from forebay.mlflow.lookup import Lookup
from forebay.mlflow.server import Server, check_address
from forebay.plan.mlflow import is_mlflow
from forebay.plan.versions import RegistryUnavailableError, UnusableVersionError, Version, VersionError
from forebay.serving.mlflow_login import Login

Json = dict[str, Any]

_log = logging.getLogger(__name__)
_AT_ONCE = 8
# After so many that weren't answered the others aren't asked in this round.
_MOST_UNANSWERED = 3
_NO_SERVER = (
    "this installation names no MLflow server: `helm upgrade --reuse-values --set mlflow.trackingUri=https://HOST ...` "
    "does"
)


class Resolution(NamedTuple):
    """The version that is meant, if one is named at all. `doubt` says why it is the last that was known."""

    version: Version | None = None
    doubt: str = ""


class MlflowModels:
    """What addresses such as models:/digits@champion came to. `wake` is called with whom a change concerns."""

    def __init__(self, wake: Callable[[Owner], None]) -> None:
        self._wake = wake
        self._named: dict[Owner, str] = {}
        self._found: dict[str, Version | VersionError] = {}
        self._last: dict[str, Version] = {}
        self._named_anew = asyncio.Event()

    def note(self, owner: Owner, body: Mapping[str, Any] | None) -> None:
        """Keep which address a ModelDeployment has; None is one that is gone."""
        uri = name_mlflow(body) if body else ""
        if uri:
            self._named[owner] = uri
        else:
            self._named.pop(owner, None)
        if uri and uri not in self._found:
            self._named_anew.set()

    def is_asked(self, body: Mapping[str, Any]) -> bool:
        """Whether there is an answer for an object: who asks before is woken when it comes."""
        uri = name_mlflow(body)
        return not uri or uri in self._found

    def choose(self, body: Mapping[str, Any]) -> Resolution:
        """The version for an object that has an answer. Raises VersionError."""
        uri = name_mlflow(body)
        found = self._found[uri]
        if isinstance(found, Version):
            return Resolution(found)
        if isinstance(found, RegistryUnavailableError) and (last := self._last.get(uri) or read_last(body)):
            return Resolution(last, str(found))
        raise found

    async def run(self, url: str, login: Login, *, interval_s: float) -> None:
        """Ask until cancelled. Without a server every address is refused."""
        if wrong := check_address(url):
            await self._refuse(f"this installation's MLflow server is `{url}`: {wrong}" if url else _NO_SERVER)
        async with Server(url, login) as server:
            lookup = Lookup(server, has_files=False)
            while True:
                self._forget()
                lookup.forget({*self._named.values()})
                await self._ask(lookup, {*self._named.values()})
                await self._wait(lookup, interval_s)

    async def _wait(self, lookup: Lookup, interval_s: float) -> None:
        """Until the interval is over; who comes meanwhile is asked for at once."""
        loop = asyncio.get_running_loop()
        until = loop.time() + interval_s
        while (left_s := until - loop.time()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._named_anew.wait()
            except TimeoutError:
                return
            self._named_anew.clear()
            await self._ask(lookup, {*self._named.values()} - self._found.keys())

    async def _refuse(self, why: str) -> None:
        while True:
            await self._named_anew.wait()
            self._named_anew.clear()
            self._forget()
            for uri in {*self._named.values()} - self._found.keys():
                self._keep(uri, UnusableVersionError(f"{uri} is a version of MLflow's registry, and {why}"))

    async def _ask(self, lookup: Lookup, wanted: set[str]) -> None:
        free = asyncio.Semaphore(_AT_ONCE)
        unanswered: list[RegistryUnavailableError] = []

        async def ask(uri: str) -> None:
            async with free:
                if len(unanswered) >= _MOST_UNANSWERED:
                    self._keep(uri, unanswered[-1])
                    return
                try:
                    found: Version | VersionError = await lookup.find(uri)
                except VersionError as error:
                    found = error
                if isinstance(found, RegistryUnavailableError):
                    unanswered.append(found)
                self._keep(uri, found)

        await asyncio.gather(*(ask(uri) for uri in sorted(wanted)))

    def _keep(self, uri: str, found: Version | VersionError) -> None:
        before, self._found[uri] = self._found.get(uri), found
        if isinstance(found, Version):
            self._last[uri] = found
        if _tell(before) == _tell(found):
            return
        _log.log(
            logging.WARNING if isinstance(found, RegistryUnavailableError) else logging.INFO,
            "%s: %s",
            uri,
            _tell(found),
        )
        for owner, named in self._named.items():
            if named == uri:
                self._wake(owner)

    def _forget(self) -> None:
        """What nobody names any more is asked for anew when somebody does."""
        wanted = {*self._named.values()}
        self._found = {uri: found for uri, found in self._found.items() if uri in wanted}
        self._last = {uri: last for uri, last in self._last.items() if uri in wanted}


def name_mlflow(body: Mapping[str, Any]) -> str:
    """The address of a ModelDeployment, where it is of MLflow's registry."""
    uri = str((body["spec"].get("model") or {}).get("uri") or "")
    return uri if is_mlflow(uri) else ""


def read_last(body: Mapping[str, Any]) -> Version | None:
    """What the address came to when it was asked for last, as the status tells it: by an operator before this one."""
    used = body.get("status", {}).get("model") or {}
    if not used or used.get("reference") != name_mlflow(body):
        return None
    name, _, number = str(used["version"]).removeprefix("models:/").rpartition("/")
    return Version(model=name, version=number, uri=used["uri"], registry="mlflow", run=used.get("run") or "")


def _tell(found: Version | VersionError | None) -> str:
    if isinstance(found, Version):
        return f"{found.reference} at {found.uri}"
    return "" if found is None else f"{type(found).__name__}: {found}"
