"""What is known of the cluster: ModelDeployments, the ModelVersions they name, their children, their pods.

Every change wakes whom it concerns.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from forebay.controller.authors import find_author
from forebay.controller.mlflow import MlflowModels
from forebay.controller.registry import Registry
from forebay.kube.children import Children, Id
from forebay.kube.holdings import Holdings, Owner
from forebay.kube.packing import pack, unpack
from forebay.kube.pods import Pods
from forebay.kube.resources import Resource
from forebay.kube.rivals import Rivals
from forebay.kube.watch import Follower

Json = dict[str, Any]
Owned = tuple[Owner, Json]

INSTANCE_LABEL = "app.kubernetes.io/instance"


# The state that an object is in: uid and resourceVersion. No other ever has the same.
State = tuple[str, str]


class Wake(Protocol):
    """Have a ModelDeployment looked at; `cause` is the state of what changed, where an object did."""

    def __call__(self, owner: Owner, cause: State | None = None, /) -> None:
        """At once."""


class World:
    """The last that was heard of everything. `wake` is called with the ModelDeployment that a change concerns, and
    `explain` when the change was our own, whose answer may come after the watch has told of it.
    """

    def __init__(self, wake: Wake, explain: Callable[[Owner, State], None]) -> None:
        self.children = Children()
        self.pods = Pods()
        self.versions = Registry(wake)
        self.mlflow = MlflowModels(wake)
        self.rivals = Rivals(self._wake_owner)
        self._deployments: dict[Owner, tuple[int, bytes]] = {}
        self._wake = wake
        self._explain = explain

    def _wake_owner(self, namespace: str, deployment: str) -> None:
        """Have the ModelDeployment looked at that a Deployment belongs to."""
        owner = self.children.owner_of(namespace, Id("Deployment", deployment))
        if owner is not None:
            self._wake(owner)

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
        if author := find_author(body["metadata"], lambda: unpack(known[1])["metadata"] if known else {}):
            metadata["managedFields"] = [author]
        self._deployments[owner] = (version, pack({**body, "metadata": metadata}))
        self.versions.note(owner, body)
        self.mlflow.note(owner, body)
        return True

    def wake_all(self) -> None:
        """Have all ModelDeployments looked at."""
        for owner in list(self._deployments):
            self._wake(owner)

    def note_own(self, owner: Owner, body: Mapping[str, Any]) -> None:
        """An object of a ModelDeployment, or itself, is as it was written here."""
        self._explain(owner, state_of(body))

    def drop(self, owner: Owner, *, uid: str) -> None:
        """Forget a ModelDeployment that is gone, but not another of its name."""
        found = self.find(owner)
        if found is not None and found["metadata"]["uid"] == uid:
            del self._deployments[owner]
            self.versions.note(owner, None)
            self.mlflow.note(owner, None)

    def follow_children(self, resource: Resource, *, namespace: str) -> Follower:
        """Who hears of the children of a kind, in a namespace or (empty) in all."""
        return self._follow(self.children, partial(self.children.replace, resource.kind, namespace=namespace))

    def follow_pods(self, *, namespace: str) -> Follower:
        """Who hears of the pods, in a namespace or (empty) in all."""
        return self._follow(self.pods, partial(self.pods.replace, namespace=namespace))

    def _follow(self, held: Holdings[Any, Any], replace: Callable[[Sequence[Owned]], set[Owner]]) -> Follower:
        return follow_owned(held, replace, wake=self._wake, owner_of=owner_of)


def follow_owned(
    held: Holdings[Any, Any],
    replace: Callable[[Sequence[Owned]], set[Owner]],
    *,
    wake: Wake,
    owner_of: Callable[[Json], Owner | None],
) -> Follower:
    """Who keeps the objects of a kind in `held`, and wakes their owners."""

    def on_list(bodies: Sequence[Json]) -> None:
        for owner in replace([(owner, body) for body in bodies if (owner := owner_of(body))]):
            wake(owner)

    def on_change(there: bool, body: Json) -> None:
        owner = owner_of(body)
        before = held.release(body, owner=owner)
        if before is not None:
            wake(before)
        if owner is not None and (held.put(owner, body) if there else held.lose(owner, body)):
            wake(owner, state_of(body))

    return Follower(on_list, on_change)


def state_of(body: Mapping[str, Any]) -> State:
    """The state that an object is in."""
    return body["metadata"]["uid"], body["metadata"]["resourceVersion"]


def owner_of(body: Mapping[str, Any]) -> Owner | None:
    """The ModelDeployment that an object was made for, by its labels."""
    name = body["metadata"].get("labels", {}).get(INSTANCE_LABEL)
    return Owner(body["metadata"]["namespace"], name) if name else None
