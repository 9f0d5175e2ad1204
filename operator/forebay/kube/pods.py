"""The pods of all ModelDeployments, as far as their state tells something."""

from collections.abc import Iterable, Mapping
from typing import Any

from forebay.kube.holdings import Holdings, Owner
from forebay.kube.packing import pack, unpack
from forebay.plan.names import COMPONENT_LABEL
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
        kind: [_pick(each, _CONTAINER) for each in spec.get(kind, ())] for kind in ("initContainers", "containers")
    }
    return {
        "metadata": _pick(metadata, _METADATA),
        "spec": {**containers, **_pick(spec, _SPEC)},
        "status": _pick(status, _STATUS),
    }


def _pick(body: Mapping[str, Any], names: Iterable[str]) -> Json:
    return {name: body[name] for name in names if name in body}


class Pods(Holdings[str, bytes]):
    """The pods of all ModelDeployments by name, packed."""

    def of(self, owner: Owner) -> list[Json]:
        """The pods of a ModelDeployment, in the order of their names."""
        return [unpack(packed) for _, packed in sorted(self._found.get(owner, {}).items())]

    def find_ready(self) -> Iterable[tuple[Owner, str, str, str]]:
        """A ready instance of each component: its owner, the component, the pod's uid and address."""
        for owner in list(self._found):
            ready: dict[str, Json] = {}
            for pod in self.of(owner):
                if is_ready(pod) and pod["status"].get("podIP"):
                    ready.setdefault(pod["metadata"]["labels"].get(COMPONENT_LABEL, ""), pod)
            for component, pod in ready.items():
                yield owner, component, pod["metadata"]["uid"], pod["status"]["podIP"]

    def key_of(self, body: Mapping[str, Any]) -> str:
        """Its name."""
        return str(body["metadata"]["name"])

    def put(self, owner: Owner, body: Mapping[str, Any]) -> bool:
        """Keep a pod as it is now; False if nothing that is kept has changed."""
        name, packed = self.key_of(body), pack(trim(body))
        if self._found.get(owner, {}).get(name) == packed:
            return False
        self._keep(owner, name, packed)
        return True

    def lose(self, owner: Owner, body: Mapping[str, Any]) -> bool:
        """Forget a pod that is gone."""
        return self._remove(owner, self.key_of(body)) is not None

    def replace(self, bodies: Iterable[tuple[Owner, Mapping[str, Any]]], *, namespace: str) -> set[Owner]:
        """Keep exactly these pods."""
        return self._replace(bodies, namespace=namespace, covers=lambda _: True)
