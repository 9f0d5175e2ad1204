"""Whose each workload is, also for a while after it is gone: Envoy still counts its requests."""

from forebay.gateway.state import State

_REMEMBERED = 10_000


class Owners:
    """The deployment and the revision of each cluster."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._owners: dict[str, tuple[str, str]] = {}

    def remember(self) -> None:
        """Look at whose they are now."""
        for route, deployment in self._state.deployments.items():
            for target in deployment.targets:
                self._owners.pop(target.cluster, None)
                self._owners[target.cluster] = (route, target.revision)
        while len(self._owners) > _REMEMBERED:
            del self._owners[next(iter(self._owners))]

    def find(self, cluster: str) -> tuple[str, str]:
        """The route of its deployment, and its revision; empty where nobody's."""
        return self._owners.get(cluster, ("", ""))
