"""The pods of model servers: their labels and addresses, as the apiserver tells."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay.kube.client import Client
from forebay.kube.resources import OURS, POD
from forebay.kube.watch import Follower, Scope, Watch
from forebay.status.pods import is_live

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A pod. An empty address is one that has none, or is over."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    address: str


def read_instance(raw: Json) -> Instance:
    """What is kept of a pod."""
    metadata, status = raw["metadata"], raw.get("status", {})
    runs = status.get("phase") in ("Pending", "Running") and is_live(raw)
    return Instance(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        labels=metadata.get("labels", {}),
        address=status.get("podIP", "") if runs else "",
    )


class Instances:
    """All pods that are known."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Instance]] = {}

    def build_watches(self, client: Client, namespaces: Sequence[str]) -> list[Watch]:
        """What keeps them up to date."""
        return [Watch(client, POD, Scope(namespace, OURS), self._build_follower()) for namespace in namespaces or ("",)]

    def select(self, namespace: str, matches: Callable[[Mapping[str, str]], bool]) -> list[Instance]:
        """Those that run, by their names."""
        found = self._found.get(namespace, {})
        return [each for _, each in sorted(found.items()) if each.address and matches(each.labels)]

    def __iter__(self) -> Iterator[Instance]:
        """All of them."""
        for found in self._found.values():
            yield from found.values()

    def _build_follower(self) -> Follower:
        known: dict[tuple[str, str], Instance] = {}

        def put(there: bool, each: Instance) -> None:
            names = self._found.setdefault(each.namespace, {})
            if there:
                known[each.namespace, each.name] = names[each.name] = each
            else:
                known.pop((each.namespace, each.name), None)
                names.pop(each.name, None)

        def put_all(found: Sequence[Instance]) -> None:
            listed = {(each.namespace, each.name) for each in found}
            for key in known.keys() - listed:
                put(False, known[key])
            for each in found:
                put(True, each)

        return Follower(put_all, put, read=read_instance)
