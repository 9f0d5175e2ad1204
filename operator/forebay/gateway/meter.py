"""GET /metrics: what Envoy counted, by deployment and revision, and what the pilot did. GET /load: what is now."""

from collections import Counter
from collections.abc import Iterator

from forebay.gateway.admin import EnvoyAdmin
from forebay.gateway.comparisons import Comparisons, Watched
from forebay.gateway.holder import Holder
from forebay.gateway.metrics import (
    Labels,
    RequestMetrics,
    write_comparisons,
    write_head,
    write_holds,
    write_instances,
)
from forebay.gateway.owners import Owners
from forebay.gateway.server import DiscoveryServer
from forebay.gateway.state import State
from forebay.plan.names import split_route_name


class Meter:
    """Writes the metrics of one gateway."""

    def __init__(
        self, state: State, server: DiscoveryServer, admin: EnvoyAdmin, *, owners: Owners, holder: Holder
    ) -> None:
        self._state = state
        self._server = server
        self._admin = admin
        self._owners = owners
        self._holder = holder
        self._failures = 0
        self.comparisons = Comparisons(self._find_watched)

    def count_failure(self) -> None:
        """A watch broke."""
        self._failures += 1

    async def write(self) -> str:
        """All metrics, as Prometheus reads them. Without Envoy there are the pilot's own."""
        self._owners.remember()
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
        lines += write_holds(self._holder.count(), self._holder.tally)
        counts = self.comparisons.counts.items()
        lines += write_comparisons((route, workload, each.outcomes) for (route, workload), each in counts)
        lines += self._write_own()
        return "\n".join(lines) + "\n"

    async def count_load(self) -> dict[str, int]:
        """Requests in flight or held, by the route of their deployment, where there are any. Raises OSError without
        Envoy.
        """
        self._owners.remember()
        load: Counter[str] = Counter(self._holder.count())
        for cluster, active in (await self._admin.count_active()).items():
            if route := self._owners.find(cluster)[0]:
                load[route] += active
        return dict(load)

    def _find_watched(self, route: str) -> Watched | None:
        """The shadow that a deployment has."""
        deployment, live = self._state.deployments.get(route), self._state.find_entrance(route)
        if deployment is None or deployment.shadow is None or live is None or live.entrance.shadow is None:
            return None
        wish, shadow = deployment.shadow, live.entrance.shadow
        return Watched(cluster=shadow.targets[0].cluster, timeout_s=wish.timeout_s, tolerance=wish.tolerance)

    def _find_owner(self, route: str, cluster: str) -> Labels:
        owner, revision = self._owners.find(cluster)
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
