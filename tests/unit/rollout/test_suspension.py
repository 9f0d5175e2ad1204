"""What becomes of a rollout that is suspended, case by case; and all strategies through whatever may happen to them."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.plan.analysis import Analysis
from forebay.plan.strategy import Step, Strategy, Way
from forebay.rollout.analysis.verdict import Outcome, Verdict
from forebay.rollout.decide import decide
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, GatewayState, RevisionState, RolloutState, WorkloadState
from tests.unit.rollout import test_blue_green, test_canary, test_recreate

A = RevisionState(name="a", workloads=("p1", "t1"))
C = RevisionState(name="c", workloads=("p2", "t3"))
D = RevisionState(name="d", workloads=("p4", "t4"))
UP, NONE = WorkloadState(wanted=2, ready=2, found=2), WorkloadState(wanted=0, ready=0)
STEPS = (Step(weight_pct=10, pause_s=None), Step(weight_pct=50, pause_s=60))
CANARY = Strategy(way=Way.CANARY, steps=STEPS)
BLUE_GREEN = Strategy(way=Way.BLUE_GREEN, steps=(Step(weight_pct=0, pause_s=None),), warm_s=30)
RECREATE = Strategy(way=Way.RECREATE)
NOBODY = GatewayState(pods=1, answered=1, routed={}, generation=2)
TO_A = GatewayState(pods=1, answered=1, routed={"t1": 1}, weights_pct={"t1": 100}, generation=2)


def at(phase: str, step: int = 1, weight_pct: int = 0, **fields: object) -> Progress:
    return Progress(revision="c", phase=Phase(phase), step=step, weight_pct=weight_pct, **fields)


def scene(progress: Progress | None, strategy: Strategy, **changes: object) -> RolloutState:
    """A serves, and C is on its way."""
    state = RolloutState(
        target=C, active=A, workloads=dict.fromkeys(("p1", "t1", "p2", "t3"), UP), gateway=NOBODY, strategy=strategy,
        progress=progress, now_s=100, suspended=True, generation=2,
    )  # fmt: skip
    return replace(state, **changes)


HELD = at("Starting", 0, held_s=100.0, instances={"p1": 2, "t1": 2})
CASES = {
    "midway": (at("Waiting", 1, 10, since_s=1.0), CANARY, Phase.STARTING),
    "before it begins": (None, CANARY, Phase.STARTING),
    "down": (at("Down", 2), CANARY, Phase.STARTING),
    "to be looked at": (at("Waiting"), BLUE_GREEN, Phase.STARTING),
    "held by somebody": (at("Paused", 1, 10), replace(CANARY, paused=True), Phase.PAUSED),
    "held with no steps": (at("Paused", 0), Strategy(paused=True), Phase.PAUSED),
    "held with no room": (at("Paused", 0), replace(RECREATE, paused=True), Phase.PAUSED),
    "aborted": (at("Aborted", 0), replace(CANARY, aborted="c"), Phase.ABORTED),
    "aborted with no steps": (at("Aborted", 0), Strategy(aborted="c"), Phase.ABORTED),
    "aborted while it has the room": (HELD, replace(RECREATE, aborted="c"), Phase.ABORTED),
    "failed": (at("Failed", message="bad"), CANARY, Phase.FAILED),
    "failed for want of time": (replace(HELD, phase=Phase.FAILED, message="late"), RECREATE, Phase.FAILED),
    "failed and to be tried again": (at("Failed"), replace(CANARY, retried="c", attempt=2), Phase.FAILED),
    "no steps": (None, Strategy(), None),
    "it has the room": (HELD, RECREATE, None),
    "and goes on so": (HELD, replace(CANARY, paused=True), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_who_keeps_its_place(name: str) -> None:
    progress, strategy, phase = CASES[name]
    decision = decide(scene(progress, strategy))
    if phase is None:
        assert (decision.active, decision.progress) == (None, None)
        assert decision.keep == set(C.workloads), "it begins as the first"
        return
    assert decision.shares_pct == ((A, 100),)
    assert decision.progress
    assert (decision.progress.phase, decision.progress.held_s) == (phase, None)
    assert decision.progress.instances == {"p1": 2, "t1": 2}
    assert decision.progress.message == (progress.message if progress else "")
    assert decision.ended == decision.keep == {*A.workloads, *C.workloads}
    # As long as it takes.
    stopped = scene(decision.progress, strategy, workloads=dict.fromkeys(("p1", "t1", "p2", "t3"), NONE))
    assert decide(stopped) == decision
    resumed = decide(replace(stopped, suspended=False, gateway=TO_A))
    assert resumed.shares_pct == ((A, 100),)
    assert resumed.restored == {"p1": 2, "t1": 2}
    back = replace(stopped, suspended=False, gateway=TO_A, progress=resumed.progress)
    there = decide(replace(back, workloads={"p1": UP, "t1": UP, "p2": NONE, "t3": NONE}))
    assert there.restored == {}
    assert there.progress is None or not there.progress.instances


def test_another_spec_meanwhile_comes_after_the_one_that_served() -> None:
    stopped = scene(
        at("Failed", instances={"p1": 2, "t1": 2}), CANARY, target=D, workloads=dict.fromkeys(A.workloads, NONE)
    )
    assert decide(stopped).progress == Progress(revision="d", phase=Phase.STARTING, instances={"p1": 2, "t1": 2})
    turned = decide(replace(stopped, target=A))
    assert (turned.active, turned.progress) == (A, None)


def test_one_that_slept_sleeps_on() -> None:
    asleep = dict.fromkeys(("p1", "t1"), NONE) | dict.fromkeys(("p2", "t3"), UP)
    stopped = decide(scene(at("Failed"), CANARY, workloads=asleep))
    resumed = decide(scene(stopped.progress, CANARY, workloads=asleep, suspended=False, gateway=TO_A))
    assert resumed.restored == {}
    midway = decide(scene(at("Starting", 0), CANARY, workloads=asleep))
    assert midway.shares_pct == ((A, 100),), "also where the other one has steps to go"
    assert midway.progress
    assert midway.progress.phase is Phase.STARTING


def test_every_phase_is_reached() -> None:
    """By what is decided, and not only by name: see tests/unit/status for how each is explained."""
    scenes = [
        *(state for state, _ in test_canary.CASES.values()),
        *(state for state, _ in test_blue_green.CASES.values()),
        *(state for state, *_ in test_recreate.CASES.values()),
    ]
    found = [decision.progress for decision in map(decide, scenes) if decision.progress]
    assert {each.phase for each in found} == set(Phase)


WAYS = (CANARY, replace(CANARY, analysis=Analysis()), BLUE_GREEN, RECREATE, Strategy())
GOOD, BAD = (Verdict(outcome=each, message="so it is") for each in (Outcome.PASSED, Outcome.FAILED))


@dataclass
class World(test_recreate.World):
    """One whose strategy changes as well, that is judged, and suspended."""

    suspended: bool = False
    verdict: Verdict | None = None

    def observe(self) -> RolloutState:
        state = super().observe()
        gateway = replace(state.gateway, routed={}, weights_pct={}) if self.suspended else state.gateway
        return replace(state, suspended=self.suspended, verdict=self.verdict, gateway=gateway)

    def scale(self, name: str, found: WorkloadState, decision: Decision) -> WorkloadState:
        scaled = super().scale(name, found, decision)
        is_stopped = self.suspended and name in self.target.workloads
        return replace(scaled, wanted=0, ready=0) if is_stopped else scaled

    def reconcile(self) -> Decision:
        before, active = self.progress, self.active
        decision = super().reconcile()
        refused = before is not None and before.revision == self.target.name and not before.is_live
        strategy = self.strategy
        is_asked = self.target.name in {strategy.promoted, strategy.retried}
        if refused and not is_asked and (before.phase is Phase.FAILED or strategy.aborted == self.target.name):
            assert decision.active == active, "nobody serves who was refused"
            assert decision.shares_pct == ((active, 100),)
        return decision

    def check(self, decision: Decision) -> None:
        if not self.suspended:
            assert sum(pct for _, pct in decision.shares_pct) == (100 if decision.active else 0)
            shares = {each.name: pct for each, pct in decision.shares_pct}
            most = max((each.weight_pct for each in self.strategy.steps), default=0)
            if decision.progress and decision.active:
                assert shares[decision.active.name] >= 100 - max(most, 50), "less than what the steps leave to it"
            if decision.active:
                wanted = [self.workloads[name].wanted for name in decision.active.workloads if name in self.workloads]
                is_held = decision.progress is not None and decision.progress.held_s is not None
                assert is_held or all(wanted), "it serves, and is to have no instances"
        else:
            assert not any(self.workloads[name].wanted for name in decision.ended if name in self.workloads)

    def change(self, event: str, index: int, revision: RevisionState) -> None:
        match event:
            case "way":
                chosen = WAYS[(index + len(self.told)) % len(WAYS)]
                kept = {name: getattr(self.strategy, name) for name in ("paused", "aborted", "promoted")}
                self.strategy = replace(chosen, **kept, promoted_fully=self.strategy.promoted_fully)
            case "suspend":
                self.suspended = not self.suspended
            case "verdict":
                self.verdict = (GOOD, BAD)[index]
            case _:
                super().change(event, index, revision)

    def settle(self) -> None:
        self.suspended, self.verdict = False, GOOD
        self.strategy = replace(self.strategy, promoted_step=len(self.strategy.steps))
        super().settle()


EVENTS = st.tuples(
    st.sampled_from(
        ["target", "run", "run", "pods", "answers", "read", "read", "time", "pause", "abort", "promote", "way",
         "suspend", "verdict"]
    ),
    st.integers(0, 1),
    st.sampled_from([A, test_recreate.B, C, D]),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_whatever_happens_in_whatever_way_it_comes_to_its_end(events: list[tuple[str, int, RevisionState]]) -> None:
    """Shares are whole, who serves is to have instances, and nobody serves who was refused."""
    world = World()
    for _ in range(2):
        world.reconcile()
        world.run()
        world.read = [len(world.told) - 1] * 2
    for event in events:
        world.change(*event)
        world.reconcile()
    world.settle()
    assert world.told[-1] == (((world.target, 100),), "", None)
    assert world.progress is None
