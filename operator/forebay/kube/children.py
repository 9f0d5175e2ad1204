"""What is known of the children in the cluster, from the watch and from our own writes; kept small."""

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from forebay.api import GROUP
from forebay.kube.holdings import Holdings, Owner
from forebay.kube.packing import pack, unpack
from forebay.kube.trimming import RESTLESS, trim

Json = dict[str, Any]

# Who writes the fields of children.
MANAGER = "forebay"
APPLIED = "forebay.dev/applied"
# What nobody here reads, and is most of an object.
_DROPPED = ("managedFields", "selfLink")
# A write is answered within seconds.
_MOST_LOST = 1000


class Id(NamedTuple):
    """A child in its namespace."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Child:
    """An object as it was seen last, packed.

    `owner_uid` is of the ModelDeployment that controls it; empty where none does. `applied` is the digest of what was
    applied, from its annotation. `is_orphan`: it was applied, and lost its owner since, as by `kubectl delete
    --cascade=orphan` or with a backup. `created_entry`: where `managedFields` says what we created, as
    long as nothing was applied since.
    """

    uid: str
    owner_uid: str
    is_orphan: bool
    created_entry: int | None
    resource_version: str
    applied: str
    packed: bytes

    @property
    def content(self) -> Json:
        """The object."""
        return unpack(self.packed)


def build_child(body: Mapping[str, Any]) -> Child:
    """An object as it is kept."""
    managed = body["metadata"].get("managedFields", ())
    metadata = {name: value for name, value in body["metadata"].items() if name not in _DROPPED}
    controllers = [each for each in metadata.get("ownerReferences", ()) if each.get("controller")]
    owners = [each for each in controllers if each["apiVersion"].startswith(f"{GROUP}/")]
    applied = metadata.get("annotations", {}).get(APPLIED, "")
    return Child(
        uid=metadata["uid"],
        owner_uid=owners[0]["uid"] if owners else "",
        is_orphan=bool(applied) and not controllers,
        created_entry=next(itertools.compress(itertools.count(), map(_is_creation, managed)), None),
        resource_version=metadata["resourceVersion"],
        applied=applied,
        packed=pack(trim({**body, "metadata": metadata})),
    )


def _is_creation(entry: Mapping[str, Any]) -> bool:
    return (entry["manager"], entry["operation"]) == (MANAGER, "Update")


class Children(Holdings[Id, Child]):
    """The children of all ModelDeployments."""

    def __init__(self) -> None:
        super().__init__()
        # What was looked at and found as wanted, so that it is not unpacked again: uid -> (version, digest).
        self._settled: dict[str, tuple[str, str]] = {}
        # At which version an object was no longer its owner's, by uid: what was answered before may be heard after.
        self._lost: OrderedDict[str, int] = OrderedDict()

    def of(self, owner: Owner) -> Mapping[Id, Child]:
        """The children of a ModelDeployment."""
        return self._found.get(owner, {})

    def key_of(self, body: Mapping[str, Any]) -> Id:
        """Its kind and name."""
        return Id(body["kind"], body["metadata"]["name"])

    def put(self, owner: Owner, body: Mapping[str, Any]) -> bool:
        """Keep an object as it is now; False if it was known already, is older than what is known, or tells nothing
        new.
        """
        key = self.key_of(body)
        known = self.of(owner).get(key)
        uid, version = body["metadata"]["uid"], int(body["metadata"]["resourceVersion"])
        if version < self._lost.get(uid, 0):
            return False
        if known is not None and known.uid == uid and version <= int(known.resource_version):
            return False
        child = build_child(body)
        self._keep(owner, key, child)
        return not (known and key.kind in RESTLESS and known.packed == child.packed)

    def lose(self, owner: Owner, body: Mapping[str, Any]) -> bool:
        """Forget an object that is gone."""
        self._note_loss(body)
        return self.drop(owner, self.key_of(body), uid=body["metadata"]["uid"])

    def release(self, body: Mapping[str, Any], *, owner: Owner | None) -> Owner | None:
        """Forget an object that another has now, or nobody; who had it before."""
        before = super().release(body, owner=owner)
        if before is not None or owner is None:
            self._note_loss(body)
        return before

    def _note_loss(self, body: Mapping[str, Any]) -> None:
        uid = body["metadata"]["uid"]
        self._lost[uid] = max(int(body["metadata"]["resourceVersion"]), self._lost.pop(uid, 0))
        if len(self._lost) > _MOST_LOST:
            self._lost.popitem(last=False)

    def drop(self, owner: Owner, key: Id, *, uid: str) -> bool:
        """Forget an object that is gone; False if it was not known, or another has its name by now."""
        known = self.of(owner).get(key)
        if known is None or known.uid != uid:
            return False
        self._remove(owner, key)
        return True

    def settle(self, child: Child, digest: str) -> None:
        """Remember that a child, as it is now, is as wanted."""
        self._settled[child.uid] = (child.resource_version, digest)

    def is_settled(self, child: Child, digest: str) -> bool:
        """Whether it was found to be as wanted, and hasn't changed since."""
        return self._settled.get(child.uid) == (child.resource_version, digest)

    def replace(self, kind: str, bodies: Iterable[tuple[Owner, Mapping[str, Any]]], *, namespace: str) -> set[Owner]:
        """Keep exactly these objects of a kind."""
        return self._replace(bodies, namespace=namespace, covers=lambda key: key.kind == kind)

    def _remove(self, owner: Owner, key: Id) -> Child | None:
        removed = super()._remove(owner, key)
        if removed is not None:
            self._settled.pop(removed.uid, None)
        return removed
