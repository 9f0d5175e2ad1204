"""GET /idle: for how long the ModelDeployments that may sleep have had no request."""

import asyncio
import contextlib
import time
from collections.abc import Mapping

from forebay.gateway.admin import EnvoyAdmin
from forebay.gateway.holder import Holder
from forebay.gateway.owners import Owners
from forebay.gateway.pace import Counts
from forebay.gateway.state import State

_EVERY_S = 2.0


class Idleness:
    """Since when each has had none: none that began, is in flight or held. Before the pilot's own begin nothing is
    known.
    """

    def __init__(self, begun_s: float) -> None:
        self._begun_s = begun_s
        self._last_s: dict[str, float] = {}
        self._totals: dict[str, int] | None = None

    def look(self, now_s: float, counts: Mapping[str, Counts], owners: Owners) -> None:
        """What Envoy counts now, by cluster."""
        before, self._totals = self._totals, {cluster: each.total for cluster, each in counts.items()}
        for cluster, each in counts.items():
            # A counter that starts anew has counted, too.
            has_begun = before is not None and each.total != before.get(cluster, 0)
            if each.active or (has_begun and each.total):
                self.touch(owners.find(cluster)[0], now_s)

    def touch(self, route: str, now_s: float) -> None:
        """There is a request."""
        self._last_s[route] = now_s

    def find_idle_s(self, route: str, now_s: float) -> float:
        """For how long there has been none."""
        return now_s - self._last_s.get(route, self._begun_s)

    def keep(self, routes: set[str]) -> None:
        """Forget all others."""
        self._last_s = {route: last_s for route, last_s in self._last_s.items() if route in routes}


class IdleWatch:
    """Looks every few seconds, and whenever it is asked."""

    def __init__(self, state: State, owners: Owners, admin: EnvoyAdmin, holder: Holder) -> None:
        self._state = state
        self._owners = owners
        self._admin = admin
        self._holder = holder
        self._idleness = Idleness(time.monotonic())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if any(each.cold_start for each in self._state.deployments.values()):
                with contextlib.suppress(OSError):
                    await self._look()
            await asyncio.sleep(_EVERY_S)

    async def _look(self) -> None:
        self._owners.remember()
        counts = await self._admin.count_all()
        now_s = time.monotonic()
        self._idleness.keep(set(self._state.deployments))
        self._idleness.look(now_s, counts, self._owners)
        for route in self._holder.count():
            self._idleness.touch(route, now_s)

    async def tell(self) -> dict[str, dict[str, float]]:
        """By route, of those that may sleep. Raises OSError without Envoy."""
        await self._look()
        now_s = time.monotonic()
        held = self._holder.count()
        return {
            route: {"idleS": round(self._idleness.find_idle_s(route, now_s), 3), "held": held.get(route, 0)}
            for route, deployment in self._state.deployments.items()
            if deployment.cold_start
        }
