"""What is known of objects that belong to ModelDeployments, by owner."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar


class Owner(NamedTuple):
    """The ModelDeployment that objects belong to."""

    namespace: str
    name: str


Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")
Body = Mapping[str, Any]


class Holdings(ABC, Generic[Key, Kept]):
    """Objects as they were seen last. A key tells them apart in a namespace."""

    def __init__(self) -> None:
        self._found: defaultdict[Owner, dict[Key, Kept]] = defaultdict(dict)
        # Whose each was when it was seen last: labels change.
        self._owners: dict[tuple[str, Key], Owner] = {}

    @abstractmethod
    def key_of(self, body: Body) -> Key:
        """What tells an object from others."""

    @abstractmethod
    def put(self, owner: Owner, body: Body) -> bool:
        """Keep an object as it is now; False if that is no news."""

    @abstractmethod
    def lose(self, owner: Owner, body: Body) -> bool:
        """Forget an object that is gone; False if that is no news."""

    def owner_of(self, namespace: str, key: Key) -> Owner | None:
        """Whose an object is; None where it isn't known."""
        return self._owners.get((namespace, key))

    def release(self, body: Body, *, owner: Owner | None) -> Owner | None:
        """Forget an object that another has now, or nobody; who had it before."""
        return self._release(body["metadata"]["namespace"], self.key_of(body), owner)

    def _release(self, namespace: str, key: Key, owner: Owner | None) -> Owner | None:
        before = self._owners.get((namespace, key))
        if before is None or before == owner:
            return None
        self._remove(before, key)
        return before

    def _keep(self, owner: Owner, key: Key, kept: Kept) -> None:
        self._found[owner][key] = kept
        self._owners[owner.namespace, key] = owner

    def _remove(self, owner: Owner, key: Key) -> Kept | None:
        removed = self._found.get(owner, {}).pop(key, None)
        self._owners.pop((owner.namespace, key), None)
        if not self._found.get(owner):
            self._found.pop(owner, None)
        return removed

    def _replace(
        self, bodies: Iterable[tuple[Owner, Body]], *, namespace: str, covers: Callable[[Key], bool]
    ) -> set[Owner]:
        """Keep exactly these of the objects that are covered, in a namespace or (empty) in all of them; the owners of
        those that have changed or are gone.
        """
        changed, there = set(), set()
        for owner, body in bodies:
            key = self.key_of(body)
            there.add((owner, key))
            if before := self._release(owner.namespace, key, owner):
                changed.add(before)
            if self.put(owner, body):
                changed.add(owner)
        known = [(owner, key) for owner, found in self._found.items() for key in found if covers(key)]
        for owner, key in known:
            if (owner, key) not in there and namespace in ("", owner.namespace):
                self._remove(owner, key)
                changed.add(owner)
        return changed
