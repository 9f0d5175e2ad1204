"""Counts what was sent to Envoy, and what it refused."""

from collections import Counter


class Pushes:
    """By kind of resource: Cluster, ClusterLoadAssignment, RouteConfiguration, Listener, TypedExtensionConfig."""

    def __init__(self) -> None:
        self.sends: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()

    def sent(self, kind: str) -> None:
        """Something was sent."""
        self.sends[kind.rpartition(".")[2]] += 1

    def answered(self, kind: str, *, refused: bool) -> None:
        """Envoy took it, or refused it."""
        self.refusals[kind.rpartition(".")[2]] += refused
