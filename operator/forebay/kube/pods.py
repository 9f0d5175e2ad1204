"""The pods of all ModelDeployments, as far as their state tells something."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from forebay.kube.children import Owner
from forebay.kube.packing import pack, unpack
from forebay.status.pods import is_ready

Json = dict[str, Any]
_METADATA = (
    "name",
    "namespace",
    "uid",
    "labels",
    "deletionTimestamp",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
)
# What a status is made from. Arguments are left out: the queue's hold its whole configuration.
_SPEC = ("nodeName", "readinessGates", "schedulingGates")
_CONTAINER = ("name", "image", "command", "env", "resources", "restartPolicy")
_STATUS = ("phase", "podIP", "reason", "message", "conditions", "initContainerStatuses", "containerStatuses")


def trim(body: Mapping[str, Any]) -> Json:
    """What is kept of a pod: who it is, where it is, what it asks for, and how it is."""
    metadata, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
    containers = {
        kind: [_keep(each, _CONTAINER) for each in spec.get(kind, ())] for kind in ("initContainers", "containers")
    }
    return {
        "metadata": _keep(metadata, _METADATA),
        "spec": {**containers, **_keep(spec, _SPEC)},
        "status": _keep(status, _STATUS),
    }


def _keep(body: Mapping[str, Any], names: Iterable[str]) -> Json:
    return {name: body[name] for name in names if name in body}


class Pods:
    """Pods by owner and name, packed."""

    def __init__(self) -> None:
        self._found: defaultdict[Owner, dict[str, bytes]] = defaultdict(dict)
        # Whose each was when it was seen last: people take a pod out of service by its labels.
        self._owners: dict[tuple[str, str], Owner] = {}

    def of(self, owner: Owner) -> list[Json]:
        """The pods of a ModelDeployment, in the order of their names."""
        return [unpack(packed) for _, packed in sorted(self._found.get(owner, {}).items())]

    def find_ready(self) -> Iterable[tuple[Owner, str, str, str]]:
        """A ready instance of each component: its owner, the component, the pod's uid and address."""
        for owner in list(self._found):
            ready: dict[str, Json] = {}
            for pod in self.of(owner):
                if is_ready(pod) and pod["status"].get("podIP"):
                    ready.setdefault(pod["metadata"]["labels"].get("app.kubernetes.io/component", ""), pod)
            for component, pod in ready.items():
                yield owner, component, pod["metadata"]["uid"], pod["status"]["podIP"]

    def put(self, owner: Owner, body: Mapping[str, Any]) -> bool:
        """Keep a pod as it is now; False if nothing that is kept has changed."""
        packed = pack(trim(body))
        name = body["metadata"]["name"]
        if self._found[owner].get(name) == packed:
            return False
        self._found[owner][name] = packed
        self._owners[owner.namespace, name] = owner
        return True

    def release(self, namespace: str, name: str, *, owner: Owner | None) -> Owner | None:
        """Forget a pod that another has now, or nobody; who had it before."""
        before = self._owners.get((namespace, name))
        if before is None or before == owner:
            return None
        self.drop(before, name)
        return before

    def drop(self, owner: Owner, name: str) -> bool:
        """Forget a pod that is gone."""
        found = self._found.get(owner, {}).pop(name, None)
        self._owners.pop((owner.namespace, name), None)
        if not self._found.get(owner):
            self._found.pop(owner, None)
        return found is not None

    def replace(self, bodies: Iterable[tuple[Owner, Mapping[str, Any]]], *, namespace: str) -> set[Owner]:
        """Keep exactly these pods, in a namespace or (empty) in all; the owners of the changed and of the gone."""
        changed, there = set(), set()
        for owner, body in bodies:
            there.add((owner, body["metadata"]["name"]))
            if before := self.release(owner.namespace, body["metadata"]["name"], owner=owner):
                changed.add(before)
            if self.put(owner, body):
                changed.add(owner)
        for owner, name in [(owner, name) for owner, found in self._found.items() for name in found]:
            if (owner, name) not in there and namespace in ("", owner.namespace):
                self.drop(owner, name)
                changed.add(owner)
        return changed
