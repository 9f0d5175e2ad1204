"""Judges new revisions that have a share of the requests, by what the gateway's pods have counted.

What was counted since a step began is kept here alone: an operator that begins anew counts anew, which makes the step
longer and nothing else. So it does after a drill: what a revision was made to answer is no evidence of it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from forebay.api.drill import Drill
from forebay.controller.questions import Asked, ask_outside
from forebay.kube.gateways import Gateways, Readings
from forebay.kube.holdings import Owner
from forebay.plan.analysis import Analysis
from forebay.plan.envoy_drill import DELAY
from forebay.plan.resolve import Serving
from forebay.plan.strategy import Strategy
from forebay.plan.units import parse_duration_s
from forebay.rollout.analysis.judge import judge
from forebay.rollout.analysis.outside import combine
from forebay.rollout.analysis.sample import Sample, begin_sample
from forebay.rollout.analysis.tally import Reading, Tally, add_all, add_times, find_since, name_compared
from forebay.rollout.analysis.verdict import DRILLED, Finding, Outcome, Verdict
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision

_log = logging.getLogger(__name__)
# So many ModelDeployments are asked for at a time: their names stand in the address.
_TOGETHER = 50
_JUDGED = (Phase.RUNNING, Phase.WAITING, Phase.ANALYZING, Phase.PAUSED, Phase.UNREADY, Phase.ROUTING)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """A step that is judged: whose entry workloads are compared, and since when the new one has its share."""

    analysis: Analysis
    revision: str
    step: int
    steps: int
    attempt: int
    since_s: float
    stable: str
    new: str
    old: str
    # Of copies, whose answers no client gets.
    copied: bool = False

    @property
    def begin_s(self) -> float:
        """From when on requests count."""
        return self.since_s + self.analysis.delay_s

    def is_of(self, progress: Progress | None) -> bool:
        """Whether that is the same step still."""
        if progress is None or progress.since_s is None:
            return False
        found = (progress.revision, progress.step, progress.attempt, progress.since_s)
        return found == (self.revision, self.step, self.attempt, self.since_s)


@dataclass(frozen=True, kw_only=True)
class Break:
    """When answers are as a drill wants them, to the last that it made late."""

    since_s: float = math.inf
    until_s: float = math.inf


@dataclass(kw_only=True)
class Case:
    """What is known of a step. `begun_s` is from when on requests count: None is not yet. `broken` is when a drill
    makes answers, `has_history` whether none did before.
    """

    watch: Watch
    due_s: float
    begun_s: float | None = None
    readings: dict[str, Reading]
    sample: Sample
    verdict: Verdict | None = None
    broken: Break = Break()
    has_history: bool = True

    def rest(self, now_s: float) -> bool:
        """Whether a drill is going on: what was counted is forgotten, and nothing is until it is over."""
        if now_s >= self.broken.since_s:
            self.has_history = False
        if not self.broken.since_s <= now_s < self.broken.until_s:
            return False
        self.readings, self.begun_s, self.verdict = {}, None, DRILLED
        self.due_s = max(self.watch.begin_s, self.broken.until_s)
        return True


class Analyses:
    """All steps that are judged."""

    def __init__(
        self,
        gateways: Gateways,
        *,
        wake: Callable[[Owner], None],
        asked: Asked = Asked(),  # noqa: B008  (frozen)
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._gateways = gateways
        self._wake = wake
        self._asked = asked
        self._clock = clock
        self._cases: dict[Owner, Case] = {}
        self._changed = asyncio.Event()

    def verdict_of(self, owner: Owner, progress: Progress | None) -> Verdict | None:
        """What the requests of a step say; None before there are any counts of it."""
        case = self._cases.get(owner)
        return case.verdict if case and case.watch.is_of(progress) else None

    def look(self, owner: Owner, serving: Serving, decision: Decision) -> None:
        """Judge the step that a rollout is in from now on, if it is to be."""
        watch = find_watch(serving.strategy, decision)
        if watch is None:
            self.forget(owner)
            return
        case, broken = self._cases.get(owner), find_break(serving.drill, watch)
        if case and case.watch == watch and case.broken == broken:
            return
        if case and case.watch == watch:
            # A drill that was taken back is over before its time.
            case.broken, case.due_s = broken, max(watch.begin_s, self._clock())
        else:
            sample = begin_sample(watch.analysis, {})
            case = Case(watch=watch, due_s=watch.begin_s, readings={}, sample=sample, broken=broken)
        if case.rest(self._clock()):
            self._wake(owner)
        self._cases[owner] = case
        self._changed.set()

    def forget(self, owner: Owner) -> None:
        """It is gone, or not judged any more."""
        self._cases.pop(owner, None)

    async def run(self) -> None:
        """Ask the gateway until cancelled, whenever a case is due."""
        while True:
            self._changed.clear()
            due_s = min((each.due_s for each in self._cases.values()), default=math.inf)
            delay_s = due_s - self._clock()
            if delay_s > 0:
                await self._rest(delay_s)
                continue
            owners = [owner for owner, case in self._cases.items() if case.due_s <= self._clock()]
            for index in range(0, len(owners), _TOGETHER):
                await self._ask(owners[index : index + _TOGETHER])

    async def _rest(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(None if math.isinf(delay_s) else delay_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _ask(self, owners: list[Owner]) -> None:
        cases = {owner: self._cases[owner] for owner in owners if owner in self._cases}
        for owner in [owner for owner, case in cases.items() if case.rest(self._clock())]:
            del cases[owner]
            self._wake(owner)
        copied = {owner for owner, case in cases.items() if case.watch.copied}
        counts = await self._ask_gateways(cases.keys() - copied, copied=False)
        comparisons = await self._ask_gateways(copied, copied=True)
        findings = await asyncio.gather(*(self._ask_others(owner, case) for owner, case in cases.items()))
        now_s = self._clock()
        for (owner, case), others in zip(cases.items(), findings, strict=True):
            if case.rest(now_s):
                continue
            before = case.verdict
            answers = comparisons if owner in copied else counts
            case.verdict = combine(take(case, owner, answers, now_s), others)
            case.due_s = now_s + case.watch.analysis.interval_s
            # Another step may be judged by now.
            if case.verdict != before and self._cases.get(owner) is case:
                self._wake(owner)

    async def _ask_gateways(self, owners: Collection[Owner], *, copied: bool) -> Mapping[str, Readings | None]:
        return await self._gateways.ask_counts(list(owners), copied=copied) if owners else {}

    async def _ask_others(self, owner: Owner, case: Case) -> list[Finding]:
        """What others than the gateway say, once it has had requests to look at."""
        watch = case.watch
        if case.begun_s is None:
            return []
        subject = {**owner._asdict(), "revision": watch.revision, "stable": watch.stable, "step": watch.step}
        return await ask_outside(watch.analysis, subject, self._asked)


def find_watch(strategy: Strategy, decision: Decision) -> Watch | None:
    """The step that is to be judged."""
    progress, analysis = decision.progress, strategy.analysis
    if analysis is None or progress is None or progress.phase not in _JUDGED or progress.since_s is None:
        return None
    if progress.step == 0:
        return None
    if decision.active is None or decision.target is None:
        return None
    return Watch(
        analysis=analysis,
        revision=progress.revision,
        step=progress.step,
        steps=len(strategy.steps),
        attempt=progress.attempt,
        since_s=progress.since_s,
        stable=decision.active.name,
        new=decision.target.entry,
        old=name_compared(decision.target.entry) if progress.shadow_pct else decision.active.entry,
        copied=bool(progress.shadow_pct),
    )


def find_break(drill: Drill | None, watch: Watch) -> Break:
    """When a drill breaks one of those that are compared."""
    if drill is None or drill.revision not in (watch.revision, watch.stable):
        return Break()
    since_s, until_s = (datetime.fromisoformat(each).timestamp() for each in (drill.since, drill.until))
    late_s = parse_duration_s(drill.delay or DELAY) if drill.fault == "Slow" else 0.0
    return Break(since_s=since_s, until_s=until_s + late_s)


def take(case: Case, owner: Owner, answers: Mapping[str, Readings | None], now_s: float) -> Verdict:
    """Add what is new to a case, and judge it anew."""
    found = {address: each.get(owner) for address, each in answers.items() if each is not None}
    readings = {address: each for address, each in found.items() if each is not None}
    new, old = (_add(case, readings, workload, now_s) for workload in (case.watch.new, case.watch.old))
    if case.begun_s is None:
        # What was answered before the step began tells how long answers take.
        before = readings.values() if case.has_history else ()
        known = add_times(*(each.find(case.watch.old).times for each in before))
        case.sample = begin_sample(case.watch.analysis, known)
    else:
        case.sample = case.sample.after(new, old)
    case.readings |= readings
    if case.begun_s is None and readings:
        case.begun_s = now_s
    return _judge(case, missing=len(answers) - len(readings), pods=len(answers))


def _add(case: Case, readings: Mapping[str, Reading], workload: str, now_s: float) -> Tally:
    followed_s = now_s - case.begun_s if case.begun_s is not None else 0.0
    return add_all(
        find_since(each, case.readings.get(address), workload, followed_s=followed_s)
        for address, each in readings.items()
    )


def _judge(case: Case, *, missing: int, pods: int) -> Verdict:
    """A verdict that counts of a pod are missing for is none: they may say anything."""
    verdict = judge(case.watch.analysis, case.sample, steps=case.watch.steps, copied=case.watch.copied)
    if pods and not missing:
        return verdict
    who = f"{missing} of {pods} pods of the gateway don't tell" if pods else "no pod of the gateway tells"
    message = f"Paused by missing metrics: {who} what was counted"
    return replace(verdict, outcome=Outcome.INCONCLUSIVE, message=message)
