"""The ModelVersions as they are now, and which ModelDeployments name them: a change wakes those and no others."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from forebay.kube.holdings import Owner
from forebay.kube.watch import Follower
from forebay.plan.versions import Version, choose_version, read_version, split_reference

Json = dict[str, Any]

# An alias moves by two writes, one to each version: what is between them is nobody's intention.
MOVE_S = 0.3


class Model(NamedTuple):
    """A model of a namespace: what its versions share."""

    namespace: str
    name: str


class Entry(NamedTuple):
    """A ModelVersion as it was seen last."""

    namespace: str
    name: str
    uid: str
    generation: int
    version: Version
    status: Json
    prefetch: Json | None = None

    @property
    def model(self) -> Model:
        """What it is a version of."""
        return Model(self.namespace, self.version.model)


class Registry:
    """The ModelVersions of all namespaces that are followed. `changed` is set when `take_changed` has something."""

    def __init__(self, wake: Callable[[Owner], None]) -> None:
        self.changed = asyncio.Event()
        self._wake = wake
        self._found: defaultdict[Model, dict[str, Entry]] = defaultdict(dict)
        self._named: dict[Owner, str] = {}
        self._naming: defaultdict[tuple[str, str], set[Owner]] = defaultdict(set)
        self._listed: set[str] = set()
        self._changed: set[Model] = set()

    def note(self, owner: Owner, body: Mapping[str, Any] | None) -> None:
        """Keep which version a ModelDeployment names; None is one that is gone."""
        reference = name_version(body) if body else ""
        before = self._named.pop(owner, "")
        if before != reference:
            self._naming[owner.namespace, before].discard(owner)
            if not self._naming[owner.namespace, before]:
                del self._naming[owner.namespace, before]
        if reference:
            self._named[owner] = reference
            self._naming[owner.namespace, reference].add(owner)

    def is_listed(self, namespace: str) -> bool:
        """Whether the versions of a namespace are known: until then none that lacks is missing."""
        return not self._listed.isdisjoint({"", namespace})

    def choose(self, namespace: str, reference: str) -> Version:
        """The version that a reference names. Raises VersionError."""
        own = self.find(Model(namespace, split_reference(reference)[0]))
        # Those of other models are for the message alone.
        there = own or [entry for model in self._found if model.namespace == namespace for entry in self.find(model)]
        return choose_version(reference, [entry.version for entry in there])

    def find(self, model: Model) -> list[Entry]:
        """The versions of a model."""
        return list(self._found.get(model, {}).values())

    def take_changed(self) -> set[Model]:
        """The models of which a version changed since the last call."""
        self.changed.clear()
        taken, self._changed = self._changed, set()
        return taken

    def mark_changed(self, model: Model) -> None:
        """Let `take_changed` name a model (again)."""
        self._changed.add(model)
        self.changed.set()

    def follow(self, *, namespace: str) -> Follower:
        """Who hears of the ModelVersions, in a namespace or (empty) in all."""
        return Follower(partial(self._replace, namespace), self._change, read=read_entry)

    def _replace(self, namespace: str, entries: Sequence[Entry]) -> None:
        self._listed.add(namespace)
        there = {(entry.namespace, entry.name) for entry in entries}
        known = [entry for found in self._found.values() for entry in found.values()]
        for entry in known:
            if namespace in ("", entry.namespace) and (entry.namespace, entry.name) not in there:
                self._change(False, entry)
        for entry in entries:
            self._change(True, entry)

    def _change(self, is_there: bool, entry: Entry) -> None:
        before = self._found[entry.model].pop(entry.name, None)
        if is_there:
            self._found[entry.model][entry.name] = entry
        elif not self._found[entry.model]:
            del self._found[entry.model]
        self.mark_changed(entry.model)
        self._wake_naming(entry.namespace, _differ(before, entry if is_there else None))

    def _wake_naming(self, namespace: str, references: Iterable[str]) -> None:
        owners = {owner for each in references for owner in self._naming.get((namespace, each), ())}
        for owner in owners:
            asyncio.get_running_loop().call_later(MOVE_S, self._wake, owner)


def name_version(body: Mapping[str, Any]) -> str:
    """Which version a ModelDeployment names; empty where it names none."""
    return str((body["spec"].get("model") or {}).get("version") or "")


def read_entry(body: Json) -> Entry:
    """What is kept of a ModelVersion."""
    metadata = body["metadata"]
    return Entry(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        version=read_version(body),
        status=body.get("status", {}),
        prefetch=body["spec"].get("prefetch"),
    )


def _differ(before: Entry | None, after: Entry | None) -> frozenset[str]:
    """The references that something else is behind now."""
    old, new = (each.version.references if each else frozenset() for each in (before, after))
    is_same = before and after and before.version.content == after.version.content
    return old ^ new if is_same else old | new
