"""Lets held requests go, at the pace of the instances that Envoy knows."""

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from forebay.gateway.admin import EnvoyAdmin
from forebay.gateway.holds import Hold, Pass
from forebay.gateway.objects import Deployment
from forebay.gateway.pace import Capacity, Counts, Pace, share_capacity
from forebay.gateway.server import DiscoveryServer
from forebay.gateway.state import State
from forebay.plan.envoy_revisions import Target


class Releaser:
    """Knows who takes requests, and how many of them."""

    def __init__(self, state: State, server: DiscoveryServer, admin: EnvoyAdmin) -> None:
        self._state = state
        self._server = server
        self._admin = admin
        self._paces: dict[str, Pace] = {}

    def find_live(self, deployment: Deployment) -> list[Target]:
        """Who takes requests now, as far as Envoy knows; nobody while anything that they need has no instance, or is
        about to have none.
        """
        if deployment.held_since:
            return []
        members = self._server.conversation.members
        targets = [each for each in deployment.targets if each.weight_pct]
        known = all(each.cluster in members and members[each.cluster].count for each in targets)
        return targets if known and self._state.is_awake(deployment) else []

    async def release(self, holds: Mapping[str, Hold], targets: Sequence[Target]) -> bool:
        """Let go, of these routes' requests, as many as these targets take now. Says whether any went."""
        clusters = {target.cluster for target in targets}
        try:
            counts = await self._admin.count_requests(clusters)
        except OSError:
            # Without Envoy nobody waits either.
            return False
        went = False
        for route, hold in holds.items():
            # It may be another one by now.
            deployment = self._state.deployments.get(route)
            if deployment is not None:
                went = self._let_go(hold, self._find_rooms(deployment, hold, counts)) or went
        self._paces = {cluster: pace for cluster, pace in self._paces.items() if cluster in clusters}
        return went

    def _find_rooms(self, deployment: Deployment, hold: Hold, counts: Mapping[str, Counts]) -> dict[Target, int]:
        now_s = time.monotonic()
        rooms = {}
        for target in self.find_live(deployment):
            if target.cluster in counts:
                pace = self._paces.setdefault(target.cluster, Pace())
                rooms[target] = pace.look(now_s, counts[target.cluster], self._find_capacity(hold, target.cluster))
        return rooms

    def _find_capacity(self, hold: Hold, cluster: str) -> Capacity:
        return share_capacity(
            slots=hold.cold_start.slots,
            depth=hold.cold_start.depth,
            instances=self._server.conversation.members[cluster].count,
            gateways=self._state.gateways,
        )

    def _let_go(self, hold: Hold, rooms: Mapping[Target, int]) -> bool:
        went: Counter[str] = Counter()
        while some := [each for each, room in rooms.items() if went[each.cluster] < room]:
            ticket = hold.pop()
            if ticket is None:
                break
            cluster = choose(some)
            went[cluster] += 1
            ticket.settle(Pass(cluster))
        now_s = time.monotonic()
        for cluster, requests in went.items():
            self._paces[cluster].let_go(now_s, requests)
        return bool(went)


def choose(targets: Sequence[Target]) -> str:
    """One of them by their shares."""
    (chosen,) = random.choices(targets, [each.weight_pct for each in targets])  # noqa: S311
    return chosen.cluster
