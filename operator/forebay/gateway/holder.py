"""Holds the requests of ModelDeployments that are asleep, has them woken, and lets the requests go when they are."""

import asyncio
import time
from collections.abc import Callable, Iterable

from forebay.gateway.holds import Hold, Pass, Ticket, Verdict, build_away, build_full, build_late
from forebay.gateway.objects import ColdStart, Deployment
from forebay.gateway.release import Releaser, choose
from forebay.gateway.state import State
from forebay.gateway.tally import Tally
from forebay.plan.envoy_replies import Refusal
from forebay.plan.envoy_revisions import Target
from forebay.plan.envoy_routes import Entrance, build_missing, find_refusal

_LOOK_S = 0.01
# Quick instances have answered those that went by then.
_SOON_S = 0.003
# A look takes as long as Envoy takes for its counters: more with many models, and where the processor is busy. It is
# left four times as long in peace, or this.
_PEACE, _MOST_PEACE_S = 4, 0.05


class Holder:
    """All holds of one gateway. `wake` is called where a deployment is to be woken, `changed` where a hold is over."""

    def __init__(
        self, state: State, releaser: Releaser, *, wake: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self._state = state
        self._releaser = releaser
        self._wake = wake
        self._changed = changed
        self._holds: dict[str, Hold] = {}
        self._busy = asyncio.Event()
        self._known = asyncio.Event()
        self._is_closed = False
        self.tally = Tally()

    def count(self) -> dict[str, int]:
        """Requests that are held, by route, where there are any."""
        return {route: len(hold) for route, hold in self._holds.items() if len(hold)}

    def find_asleep(self, route: str) -> Deployment | None:
        """The deployment of a route, if requests wait for it to be awake."""
        deployment = self._state.deployments.get(route)
        if deployment is None or deployment.cold_start is None or route not in self._holds:
            return None
        if deployment.held_since:
            # Whoever replaces its instances starts them.
            return None
        return None if find_verdict(deployment) or self._state.is_awake(deployment) else deployment

    async def wait(self, route: str, *, age_s: float = 0.0) -> Verdict:
        """What becomes of a request that came so long ago. Whoever cancels this leaves its place to others."""
        await self._known.wait()
        deployment = self._state.deployments.get(route)
        verdict = find_verdict(deployment)
        if verdict or deployment is None:
            return verdict or build_missing()
        if self._is_closed:
            return build_away()
        found = self._find_place(deployment)
        return await self._hold(route, found, age_s) if isinstance(found, Hold) else found

    def _find_place(self, deployment: Deployment) -> Hold | Verdict:
        """Where to wait, or that there is no need or no room to."""
        hold = self._holds.get(deployment.route)
        if hold is not None:
            is_full = len(hold) >= hold.cold_start.max_held
            return build_full(deployment.name, hold.cold_start) if is_full else hold
        if deployment.cold_start is None or self._releaser.find_live(deployment):
            return Pass(choose(deployment.targets))
        return self._begin(deployment.route, deployment.cold_start)

    def _begin(self, route: str, cold_start: ColdStart) -> Hold:
        hold = self._holds[route] = Hold(cold_start)
        self._state.begin_hold(route, cold_start.timeout_s)
        self._busy.set()
        if self.find_asleep(route):
            self.tally.count_start(route)
            self._wake(route)
        return hold

    async def _hold(self, route: str, hold: Hold, age_s: float) -> Verdict:
        settled: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

        def settle(verdict: Verdict) -> None:
            # Its client may have left a moment ago.
            if not settled.done():
                settled.set_result(verdict)

        ticket = Ticket(time.monotonic() - age_s, settle)
        hold.add(ticket)
        outcome = "left"
        try:
            verdict = await settled
            outcome = "passed" if isinstance(verdict, Pass) else "refused"
            return verdict
        finally:
            hold.drop(ticket)
            self.tally.count_wait(route, outcome, time.monotonic() - ticket.begun_s)

    async def run(self) -> None:
        """Let go whoever may go, until cancelled."""
        while True:
            await self._busy.wait()
            while self._holds:
                began_s = time.monotonic()
                went = await self._look()
                await asyncio.sleep(find_pause_s(time.monotonic() - began_s, went=went))
            self._busy.clear()

    async def _look(self) -> bool:
        """Whether any went."""
        went = False
        now_s = time.monotonic()
        live = {route: self._advance(route, hold, now_s) for route, hold in self._holds.items()}
        awake = {route: self._holds[route] for route, targets in live.items() if targets}
        if awake:
            went = await self._releaser.release(awake, [target for targets in live.values() for target in targets])
        for route in [route for route, hold in self._holds.items() if not len(hold)]:
            del self._holds[route]
            self._state.end_hold(route)
            self._changed()
        return went

    def _advance(self, route: str, hold: Hold, now_s: float) -> list[Target]:
        """Answer those that wait in vain. Says where the others may go now."""
        deployment = self._state.deployments.get(route)
        verdict = find_verdict(deployment)
        if verdict or deployment is None:
            self._settle(hold.pop_all(), verdict or build_missing())
            return []
        # Who waits for one that is to sleep no more waits on.
        hold.cold_start = deployment.cold_start or hold.cold_start
        timeout_s = hold.cold_start.timeout_s
        late = build_late(deployment.namespace, deployment.name, hold.cold_start)
        self._settle(hold.pop_before(now_s - timeout_s), late)
        targets = self._releaser.find_live(deployment)
        hold.awake_s = (hold.awake_s or now_s) if targets else None
        if hold.awake_s and now_s - hold.awake_s > timeout_s:
            # Who came while it was asleep has an answer. These are more than the instances can do, which is for their
            # queues to say.
            for ticket in hold.pop_all():
                ticket.settle(Pass(choose(targets)))
        if not targets and self.find_asleep(route):
            self._wake(route)
        return targets

    def _settle(self, tickets: Iterable[Ticket], verdict: Verdict) -> None:
        for ticket in tickets:
            ticket.settle(verdict)

    def open(self) -> None:
        """All deployments are known: nobody is refused because one is not yet."""
        self._known.set()

    def close(self) -> None:
        """Refuse all, from now on."""
        self._is_closed = True
        self._known.set()
        for hold in self._holds.values():
            self._settle(hold.pop_all(), build_away())


def find_pause_s(took_s: float, *, went: bool) -> float:
    """Until the next look, after one that took so long. `went`: some were let go."""
    return max(_SOON_S if went else _LOOK_S, min(_PEACE * took_s, _MOST_PEACE_S))


def find_verdict(deployment: Deployment | None) -> Refusal | None:
    """What a deployment answers that nobody has to wait for."""
    if deployment is None:
        return build_missing()
    entrance = Entrance(
        namespace=deployment.namespace,
        deployment=deployment.name,
        timeout_s=deployment.timeout_s,
        targets=deployment.targets,
        instances=1,
        suspended=deployment.suspended,
    )
    return find_refusal(entrance)
