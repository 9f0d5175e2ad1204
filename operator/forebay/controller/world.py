"""What is known of the cluster: ModelDeployments, their children, their pods. Every change wakes whom it concerns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from forebay.kube.children import Children, Id, Owner
from forebay.kube.packing import pack, unpack
from forebay.kube.pods import Pods
from forebay.kube.resources import Resource
from forebay.kube.watch import OnChange, OnList

Json = dict[str, Any]

INSTANCE_LABEL = "app.kubernetes.io/instance"


class World:
    """The last that was heard of everything. `wake` is called with the ModelDeployment that a change concerns."""

    def __init__(self, wake: Callable[[Owner], None]) -> None:
        self.children = Children()
        self.pods = Pods()
        self._deployments: dict[Owner, tuple[int, bytes]] = {}
        self._wake = wake

    @property
    def owners(self) -> Sequence[Owner]:
        """All ModelDeployments."""
        return list(self._deployments)

    def find(self, owner: Owner) -> Json | None:
        """A ModelDeployment as it is now."""
        found = self._deployments.get(owner)
        return None if found is None else unpack(found[1])

    def put(self, body: Mapping[str, Any]) -> bool:
        """Keep a ModelDeployment; False if a later one is known."""
        metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
        owner, version = Owner(metadata["namespace"], metadata["name"]), int(metadata["resourceVersion"])
        known = self._deployments.get(owner)
        if known is not None and known[0] >= version:
            return False
        self._deployments[owner] = (version, pack({**body, "metadata": metadata}))
        return True

    def drop(self, owner: Owner, *, uid: str) -> None:
        """Forget a ModelDeployment that is gone, but not another of its name."""
        found = self.find(owner)
        if found is not None and found["metadata"]["uid"] == uid:
            del self._deployments[owner]

    def follow_children(self, resource: Resource) -> tuple[OnList, OnChange]:
        """What to call with the children of a kind."""

        def on_list(bodies: Sequence[Json]) -> None:
            owned = [(owner, body) for body in bodies if (owner := owner_of(body))]
            for owner in self.children.replace(resource.kind, owned):
                self._wake(owner)

        def on_change(change: str, body: Json) -> None:
            owner = owner_of(body)
            if owner is None:
                return
            key = Id(resource.kind, body["metadata"]["name"])
            if change == "DELETED":
                changed = self.children.drop(owner, key, uid=body["metadata"]["uid"])
            else:
                changed = self.children.put(owner, body)
            if changed:
                self._wake(owner)

        return on_list, on_change

    def follow_pods(self) -> tuple[OnList, OnChange]:
        """What to call with the pods."""

        def on_list(bodies: Sequence[Json]) -> None:
            for owner in self.pods.replace([(owner, body) for body in bodies if (owner := owner_of(body))]):
                self._wake(owner)

        def on_change(change: str, body: Json) -> None:
            owner = owner_of(body)
            if owner is None:
                return
            if change == "DELETED":
                changed = self.pods.drop(owner, body["metadata"]["name"])
            else:
                changed = self.pods.put(owner, body)
            if changed:
                self._wake(owner)

        return on_list, on_change


def owner_of(body: Mapping[str, Any]) -> Owner | None:
    """The ModelDeployment that an object was made for, by its labels."""
    name = body["metadata"].get("labels", {}).get(INSTANCE_LABEL)
    return Owner(body["metadata"]["namespace"], name) if name else None
