"""What is known of the children in the cluster, from the watch and from our own writes; kept small."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from forebay.api import GROUP
from forebay.kube.packing import pack, unpack

Json = dict[str, Any]

APPLIED = "forebay.dev/applied"
# What nobody here reads, and is most of an object.
_DROPPED = ("managedFields", "selfLink")


class Id(NamedTuple):
    """A child in its namespace."""

    kind: str
    name: str


class Owner(NamedTuple):
    """The ModelDeployment that children belong to."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Child:
    """An object as it was seen last, packed.

    `owner_uid` is of the ModelDeployment that controls it; empty where none does. `applied` is the digest of what was
    applied, from its annotation. `is_orphan`: it was applied, and lost its owner since, as by `kubectl delete
    --cascade=orphan` or with a backup.
    """

    uid: str
    owner_uid: str
    is_orphan: bool
    resource_version: str
    applied: str
    packed: bytes

    @property
    def content(self) -> Json:
        """The object."""
        return unpack(self.packed)


def build_child(body: Mapping[str, Any]) -> Child:
    """An object as it is kept."""
    metadata = {name: value for name, value in body["metadata"].items() if name not in _DROPPED}
    controllers = [each for each in metadata.get("ownerReferences", ()) if each.get("controller")]
    owners = [each for each in controllers if each["apiVersion"].startswith(f"{GROUP}/")]
    applied = metadata.get("annotations", {}).get(APPLIED, "")
    return Child(
        uid=metadata["uid"],
        owner_uid=owners[0]["uid"] if owners else "",
        is_orphan=bool(applied) and not controllers,
        resource_version=metadata["resourceVersion"],
        applied=applied,
        packed=pack({**body, "metadata": metadata}),
    )


class Children:
    """The children of all ModelDeployments, by owner."""

    def __init__(self) -> None:
        self._found: defaultdict[Owner, dict[Id, Child]] = defaultdict(dict)
        # Whose each was when it was seen last: labels change.
        self._owners: dict[tuple[str, Id], Owner] = {}
        # What was looked at and found as wanted, so that it is not unpacked again: uid -> (version, digest).
        self._settled: dict[str, tuple[str, str]] = {}

    def of(self, owner: Owner) -> Mapping[Id, Child]:
        """The children of a ModelDeployment."""
        return self._found.get(owner, {})

    def put(self, owner: Owner, body: Mapping[str, Any]) -> bool:
        """Keep an object as it is now; False if it was known already, or is older than what is known."""
        key = Id(body["kind"], body["metadata"]["name"])
        known = self._found[owner].get(key)
        version = body["metadata"]["resourceVersion"]
        if known is not None and known.uid == body["metadata"]["uid"] and int(version) <= int(known.resource_version):
            return False
        self._found[owner][key] = build_child(body)
        self._owners[owner.namespace, key] = owner
        return True

    def release(self, namespace: str, key: Id, *, owner: Owner | None) -> Owner | None:
        """Forget an object that another has now, or nobody; who had it before."""
        before = self._owners.get((namespace, key))
        if before is None or before == owner:
            return None
        self.drop(before, key, uid=self._found[before][key].uid)
        return before

    def drop(self, owner: Owner, key: Id, *, uid: str) -> bool:
        """Forget an object that is gone; False if it was not known, or another has its name by now."""
        known = self._found.get(owner, {}).get(key)
        if known is None or known.uid != uid:
            return False
        del self._found[owner][key]
        self._owners.pop((owner.namespace, key), None)
        self._settled.pop(uid, None)
        if not self._found[owner]:
            del self._found[owner]
        return True

    def settle(self, child: Child, digest: str) -> None:
        """Remember that a child, as it is now, is as wanted."""
        self._settled[child.uid] = (child.resource_version, digest)

    def is_settled(self, child: Child, digest: str) -> bool:
        """Whether it was found to be as wanted, and hasn't changed since."""
        return self._settled.get(child.uid) == (child.resource_version, digest)

    def replace(self, kind: str, bodies: Iterable[tuple[Owner, Mapping[str, Any]]], *, namespace: str) -> set[Owner]:
        """Keep exactly these objects of a kind, in a namespace or (empty) in all of them; the owners of those that have
        changed or are gone.
        """
        changed, there = set(), set()
        for owner, body in bodies:
            there.add((owner, body["metadata"]["name"]))
            if before := self.release(owner.namespace, Id(kind, body["metadata"]["name"]), owner=owner):
                changed.add(before)
            if self.put(owner, body):
                changed.add(owner)
        known = [(owner, key) for owner, found in self._found.items() for key in found if key.kind == kind]
        for owner, key in known:
            if (owner, key.name) not in there and namespace in ("", owner.namespace):
                self.drop(owner, key, uid=self._found[owner][key].uid)
                changed.add(owner)
        return changed
