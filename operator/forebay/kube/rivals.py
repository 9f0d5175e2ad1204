"""HorizontalPodAutoscalers that somebody else has made for Deployments of ours: two of them would fight for ever."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from forebay.kube.resources import MODEL_DEPLOYMENT
from forebay.kube.watch import Follower

Json = dict[str, Any]
NOT_OURS = "app.kubernetes.io/managed-by!=forebay"


class Rival(NamedTuple):
    """An autoscaler, and the Deployment that it scales; empty where it scales something else."""

    namespace: str
    name: str
    deployment: str


def read_rival(body: Json) -> Rival:
    """What is kept of an autoscaler."""
    target = body["spec"]["scaleTargetRef"]
    is_deployment = target["kind"] == "Deployment" and target.get("apiVersion", "apps/v1").startswith("apps/")
    metadata = body["metadata"]
    owners = metadata.get("ownerReferences", ())
    # KEDA makes one for a ScaledObject: for ours it is no other's. And ours may have lost its label.
    makers = [each["name"] for each in owners if each["kind"] == "ScaledObject"]
    is_own = any(each["kind"] == MODEL_DEPLOYMENT.kind and each.get("controller") for each in owners)
    is_rival = is_deployment and not is_own and target["name"] not in makers
    return Rival(metadata["namespace"], metadata["name"], target["name"] if is_rival else "")


class Rivals:
    """All of them. `wake` is called with the namespace and name of a Deployment that one more scales, or one less."""

    def __init__(self, wake: Callable[[str, str], None]) -> None:
        self._wake = wake
        self._found: dict[tuple[str, str], Rival] = {}

    def find(self, namespace: str, deployment: str) -> str:
        """The name of an autoscaler that scales a Deployment, of several the first; empty where there is none."""
        found = (each for each in self._found.values() if (each.namespace, each.deployment) == (namespace, deployment))
        return min((each.name for each in found), default="")

    def follow(self) -> Follower:
        """Who hears of them, in a namespace or in all."""
        known: set[tuple[str, str]] = set()

        def put(there: bool, rival: Rival) -> None:
            key = (rival.namespace, rival.name)
            before = self._found.pop(key, None)
            known.discard(key)
            if there and rival.deployment:
                self._found[key] = rival
                known.add(key)
            after = self._found.get(key)
            for each in (before, after) if before != after else ():
                if each:
                    self._wake(each.namespace, each.deployment)

        def put_all(rivals: Sequence[Rival]) -> None:
            for key in known - {(each.namespace, each.name) for each in rivals}:
                put(False, self._found[key])
            for each in rivals:
                put(True, each)

        return Follower(put_all, put, read=read_rival)
