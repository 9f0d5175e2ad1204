"""Which ModelVersion a reference such as digits:3 or digits@champion names: pure."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from forebay.api import Credentials, ModelDeployment
from forebay.errors import UserError

_MOST_NAMED = 5


class VersionError(UserError):
    """A reference that names no version, in words for people."""


class UnknownVersionError(VersionError):
    """There is no such version, or none that has the alias."""


class AmbiguousAliasError(VersionError):
    """Several versions claim the alias, so that it names none."""


class UnusableVersionError(VersionError):
    """There is the version, and its files are where pods can't get at them."""


class RegistryUnavailableError(VersionError):
    """A registry elsewhere couldn't be asked: which version is meant isn't known now."""


class Version(NamedTuple):
    """What is known of a ModelVersion, or of a version in MLflow's registry. An empty string is none."""

    model: str
    version: str
    uri: str
    digest: str = ""
    secret_name: str = ""
    format: str = ""
    aliases: frozenset[str] = frozenset()
    registry: Literal["", "mlflow"] = ""
    run: str = ""

    @property
    def reference(self) -> str:
        """As a ModelDeployment names it."""
        return f"models:/{self.model}/{self.version}" if self.registry else f"{self.model}:{self.version}"

    @property
    def content(self) -> "Version":
        """What a plan depends on: all but the aliases."""
        return self._replace(aliases=frozenset())

    @property
    def references(self) -> frozenset[str]:
        """All that a ModelDeployment may call it."""
        return frozenset({self.reference, *(f"{self.model}@{alias}" for alias in self.aliases)})


def read_version(body: Mapping[str, Any]) -> Version:
    """A ModelVersion, as the apiserver keeps it or as it stands in a file."""
    spec = body["spec"]
    return Version(
        model=spec["model"],
        version=spec["version"],
        uri=spec["uri"],
        digest=spec.get("digest") or "",
        secret_name=(spec.get("credentials") or {}).get("secretName", ""),
        # A Triton repository is what is taken without a format.
        format=(spec.get("format") or "").removeprefix("triton"),
        aliases=frozenset(spec.get("aliases") or ()),
    )


def choose_version(reference: str, versions: Iterable[Version]) -> Version:
    """The version of a namespace that a reference names. Raises VersionError, which names the nearest there are."""
    known = sort_versions(versions)
    found = [each for each in known if reference in each.references]
    if len(found) > 1:
        raise AmbiguousAliasError(describe_conflict(reference, found))
    if found:
        return found[0]
    model, name = split_reference(reference)
    own = [each for each in known if each.model == model]
    if not own:
        raise UnknownVersionError(f"there is no ModelVersion of {model} here{_suggest_model(model, known)}")
    if ":" in reference:
        raise UnknownVersionError(f"there is no ModelVersion {reference}: {_list_versions(name, own)}")
    raise UnknownVersionError(f"no version of {model} has the alias of {reference}{_suggest_alias(reference, own)}")


def split_reference(reference: str) -> tuple[str, str]:
    """The model, and the version or alias of it."""
    model, name = re.split("[:@]", reference, maxsplit=1)
    return model, name


def describe_conflict(reference: str, claimants: Sequence[Version]) -> str:
    """What is wrong where several versions claim an alias."""
    names = " and ".join(each.reference for each in claimants)
    return (
        f"{names} both claim {reference}, so that it names neither: take it from one, or run "
        f"`forebay alias {reference} VERSION`"
    )


def sort_versions(versions: Iterable[Version]) -> list[Version]:
    """By model, the latest first: numbers count as numbers."""
    latest = sorted(versions, key=lambda each: _order(each.version), reverse=True)
    return sorted(latest, key=lambda each: each.model)


def pin(md: ModelDeployment, version: Version) -> ModelDeployment:
    """The ModelDeployment with the version's address for its name: all that comes after knows addresses alone."""
    source = md.spec.model
    if source is None:
        return md
    own = Credentials(secret_name=version.secret_name) if version.secret_name else None
    update = {"uri": version.uri, "version": None, "credentials": source.credentials or own}
    if version.format and md.spec.predictor.triton:  # a custom predictor is given the files as they are
        update["format"] = source.format or version.format
    pinned = source.model_copy(update=update)
    pinned.remember_digest(version.digest)
    return md.model_copy(update={"spec": md.spec.model_copy(update={"model": pinned})})


def _order(version: str) -> list[tuple[bool, int, str]]:
    parts = re.findall(r"\d+|[^\d.-]+", version)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _suggest_model(model: str, known: Sequence[Version]) -> str:
    models = list(dict.fromkeys(each.model for each in known))
    near = difflib.get_close_matches(model, models, n=2)
    if near:
        return f": did you mean {' or '.join(near)}?"
    if models:
        return f": there are versions of {_join(models)}"
    return f", nor of any other model: `forebay push DIR {model}` makes one"


def _list_versions(version: str, own: Sequence[Version]) -> str:
    near = difflib.get_close_matches(version, [each.version for each in own], cutoff=0.7)
    first = sorted(own, key=lambda each: near.index(each.version) if each.version in near else len(near))
    return f"there are {_join([_show(each) for each in first])}"


def _suggest_alias(reference: str, own: Sequence[Version]) -> str:
    there = {f"{each.model}@{alias}": each for each in own for alias in sorted(each.aliases)}
    near = difflib.get_close_matches(reference, there, n=1, cutoff=0.8)
    if near:
        return f": did you mean {near[0]} ({there[near[0]].reference})?"
    if there:
        return f": there are {_join([f'{name} ({each.reference})' for name, each in there.items()])}"
    return f": give it to one of {_join([each.version for each in own])} by `forebay alias {reference} VERSION`"


def _show(version: Version) -> str:
    aliases = ", ".join(sorted(version.aliases))
    return f"{version.reference} ({aliases})" if aliases else version.reference


def _join(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
