"""Which version of MLflow's registry an address names, and where its files are."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from forebay.mlflow.server import RefusedError, Server
from forebay.plan.mlflow import Reference, read_location, read_reference, write_reference
from forebay.plan.versions import RegistryUnavailableError, UnknownVersionError, UnusableVersionError, Version

Json = dict[str, Any]

_MOST_NAMED = 5
_READY = "READY"
_RUNS = "runs:/"
_UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class Lookup:
    """Asks one server. `has_files`: who downloads may read files of this machine."""

    def __init__(self, server: Server, *, has_files: bool) -> None:
        self._server = server
        self._has_files = has_files
        # Where the files of a version are never changes: of each reference the last.
        self._located: dict[Reference, tuple[Json, str]] = {}

    async def find(self, uri: str) -> Version:
        """The version that an address names now. Raises VersionError, of which RegistryUnavailableError may pass."""
        try:
            return await self._look_up(read_reference(uri))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RegistryUnavailableError(
                f"{self._server.url} answers, and not as MLflow does: look at the address ({error!r})"
            ) from error

    async def _look_up(self, wanted: Reference) -> Version:
        found = await self._find(wanted)
        number = str(found.get("version", ""))
        where = write_reference(wanted.name, version=number)
        status = str(found.get("status") or _READY)
        if status != _READY:
            raise UnknownVersionError(f"{where} isn't ready: MLflow says {status} {found.get('status_message', '')}")
        return Version(
            model=quote(wanted.name, safe=""),
            version=number,
            uri=read_location(await self._locate(wanted, found, where), where, has_files=self._has_files),
            registry="mlflow",
            run=str(found.get("run_id") or ""),
        )

    def forget(self, wanted: set[str]) -> None:
        """Keep what is known of these addresses alone."""
        kept = {read_reference(uri) for uri in wanted}
        self._located = {each: known for each, known in self._located.items() if each in kept}

    async def _find(self, wanted: Reference) -> Json:
        try:
            if wanted.alias:
                answer = await self._server.ask("registered-models/alias", name=wanted.name, alias=wanted.alias)
            else:
                answer = await self._server.ask("model-versions/get", name=wanted.name, version=wanted.version)
        except RefusedError as error:
            if error.code not in _UNKNOWN:
                raise UnknownVersionError(f"MLflow at {self._server.url} says: {error}") from None
            raise UnknownVersionError(await self._explain(wanted)) from None
        return dict(answer["model_version"])

    async def _locate(self, wanted: Reference, found: Json, where: str) -> str:
        facts = {name: found.get(name) for name in ("version", "source", "creation_timestamp")}
        known = self._located.get(wanted)
        if known is None or known[0] != facts:
            self._located[wanted] = known = (facts, await self._ask_location(wanted.name, found, where))
        return known[1]

    async def _ask_location(self, name: str, found: Json, where: str) -> str:
        try:
            answer = await self._server.ask("model-versions/get-download-uri", name=name, version=found["version"])
            location = str(answer.get("artifact_uri") or found.get("source") or "")
            if not location.startswith(_RUNS):
                return location
            run, _, path = location.removeprefix(_RUNS).partition("/")
            answer = await self._server.ask("runs/get", run_id=run)
        except RefusedError as error:
            raise UnusableVersionError(f"MLflow doesn't say where the files of {where} are: {error}") from None
        return f"{str(answer['run']['info']['artifact_uri']).rstrip('/')}/{path}"

    async def _explain(self, wanted: Reference) -> str:
        """What there is instead of what isn't."""
        here = f"MLflow at {self._server.url}"
        try:
            answer = await self._server.ask("registered-models/get", name=wanted.name)
        except RefusedError:
            return f"{here} has no registered model {wanted.name}{await self._suggest_model(wanted.name)}"
        if wanted.alias:
            return f"no version of {wanted.name} has the alias {wanted.alias} in {here}{suggest_alias(wanted, answer)}"
        numbers = await self._list_numbers(wanted.name)
        there = f"there are {_join(numbers)}" if numbers else "it has none"
        return f"{here} has no version {wanted.version} of {wanted.name}: {there}"

    async def _suggest_model(self, name: str) -> str:
        answer = await self._server.ask("registered-models/search", max_results="1000")
        names = [str(each["name"]) for each in answer.get("registered_models", ())]
        near = difflib.get_close_matches(name, names, n=2)
        if near:
            return f": did you mean {' or '.join(near)}?"
        return f": there are {_join(names)}" if names else ", nor any other: mlflow.register_model(...) makes one"

    async def _list_numbers(self, name: str) -> list[str]:
        escaped = name.replace("'", "\\'")
        answer = await self._server.ask("model-versions/search", filter=f"name='{escaped}'", max_results="100")
        numbers = sorted((int(each["version"]) for each in answer.get("model_versions", ())), reverse=True)
        return [str(each) for each in numbers]


def suggest_alias(wanted: Reference, answer: Mapping[str, Any]) -> str:
    """Which alias was meant, of those that a registered model has."""
    aliases = {str(each["alias"]): str(each["version"]) for each in answer["registered_model"].get("aliases", ())}
    near = difflib.get_close_matches(wanted.alias, aliases, n=1, cutoff=0.8)
    if near:
        return f": did you mean {write_reference(wanted.name, alias=near[0])} (version {aliases[near[0]]})?"
    if aliases:
        return f": there are {_join([f'{alias} (version {number})' for alias, number in sorted(aliases.items())])}"
    return ": it has no alias at all: give one to a version, or write models:/NAME/VERSION"


def _join(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
