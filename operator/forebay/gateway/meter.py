"""GET /metrics: what Envoy counted, by deployment and revision, and what the pilot itself did."""

from collections.abc import Iterator

from forebay.gateway.admin import EnvoyAdmin
from forebay.gateway.metrics import Labels, RequestMetrics, write_head, write_instances
from forebay.gateway.server import DiscoveryServer
from forebay.gateway.state import State
from forebay.plan.names import split_route_name

# Workloads that are gone, whose requests Envoy still counts.
_REMEMBERED = 10_000


class Meter:
    """Writes the metrics of one gateway."""

    def __init__(self, state: State, server: DiscoveryServer, admin: EnvoyAdmin) -> None:
        self._state = state
        self._server = server
        self._admin = admin
        self._failures = 0
        self._owners: dict[str, tuple[str, str]] = {}

    def count_failure(self) -> None:
        """A watch broke."""
        self._failures += 1

    async def write(self) -> str:
        """All metrics, as Prometheus reads them. Without Envoy there are the pilot's own."""
        self._remember()
        lines: list[str] = []
        try:
            text = await self._admin.read_metrics()
        except OSError:
            pass
        else:
            metrics = RequestMetrics(self._find_owner)
            metrics.read(text)
            lines += metrics.write()
        lines += write_instances(self._count_instances())
        lines += self._write_own()
        return "\n".join(lines) + "\n"

    def _remember(self) -> None:
        """Whose each workload is."""
        for route, deployment in self._state.deployments.items():
            for target in deployment.targets:
                self._owners.pop(target.cluster, None)
                self._owners[target.cluster] = (route, target.revision)
        while len(self._owners) > _REMEMBERED:
            del self._owners[next(iter(self._owners))]

    def _find_owner(self, route: str, cluster: str) -> Labels:
        owner, revision = self._owners.get(cluster, ("", ""))
        namespace, deployment = split_route_name(route or owner)
        return namespace, deployment, revision

    def _count_instances(self) -> Iterator[tuple[Labels, int]]:
        members = self._server.conversation.members
        for route, deployment in self._state.deployments.items():
            namespace, name = split_route_name(route)
            for target in deployment.targets:
                found = members.get(target.cluster)
                yield (namespace, name, target.revision), found.count if found else 0

    def _write_own(self) -> Iterator[str]:
        yield from write_head("forebay_pilot_connected", "gauge", "Envoys that are connected to the pilot.")
        yield f"forebay_pilot_connected {self._server.connected}"
        yield from write_head("forebay_pilot_pushes_total", "counter", "Configs sent to Envoy.")
        for kind, count in self._server.pushes.sends.items():
            yield f'forebay_pilot_pushes_total{{kind="{kind}"}} {count}'
        yield from write_head("forebay_pilot_nacks_total", "counter", "Configs that Envoy refused.")
        for kind, count in self._server.pushes.refusals.items():
            yield f'forebay_pilot_nacks_total{{kind="{kind}"}} {count}'
        yield from write_head("forebay_pilot_watch_failures_total", "counter", "Watches of the apiserver that broke.")
        yield f"forebay_pilot_watch_failures_total {self._failures}"
