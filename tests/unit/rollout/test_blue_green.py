"""A rollout in one step that has no share, and what is kept afterwards to go back to."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.plan.strategy import Step, Strategy, Way
from forebay.rollout.decide import decide
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, GatewayState, RevisionState, RolloutState, Warm, WorkloadState
from tests.unit.rollout.test_canary import EVENTS, World

A = RevisionState(name="a", workloads=("p1", "t1"))
B = RevisionState(name="b", workloads=("p1", "t2"))  # another transformer before the same predictor
C = RevisionState(name="c", workloads=("p2", "t3"))
D = RevisionState(name="d", workloads=("p4", "t4"))
UP, PART, DOWN = WorkloadState(wanted=2, ready=2), WorkloadState(wanted=2, ready=1), WorkloadState(wanted=2, ready=0)
BY_TIME = Strategy(way=Way.BLUE_GREEN, steps=(Step(weight_pct=0, pause_s=60),), warm_s=30)
BY_HAND = replace(BY_TIME, steps=(Step(weight_pct=0, pause_s=None),))
PLAIN = Strategy(warm_s=30)


def routes(*entries: str, serves: str = "t1", **fields: int) -> GatewayState:
    known = {"pods": 1, "answered": 1} | fields
    return GatewayState(**known, routed=dict.fromkeys((serves, *entries), 1), weights_pct={serves: 100})


def at(phase: str, step: int = 1, since_s: float | None = None) -> Progress:
    return Progress(revision="c", phase=Phase(phase), step=step, since_s=since_s)


def scene(progress: Progress | None, strategy: Strategy = BY_TIME, **changes: object) -> RolloutState:
    workloads = dict.fromkeys(("p1", "t1", "p2", "t3"), UP) | changes.pop("workloads", {})
    state = RolloutState(
        target=C, active=A, workloads=workloads, gateway=routes("t3"), strategy=strategy, progress=progress, now_s=100,
    )  # fmt: skip
    return replace(state, **changes)


PROMOTED = replace(BY_HAND, promoted="c", promoted_step=1)
CASES = {
    "it starts": (scene(None, workloads={"t3": PART}), ("Starting", 0)),
    "it is up": (scene(None, gateway=routes()), ("Routing", 1)),
    "and the gateway leads to it": (scene(None), ("Running", 1, 100, 160)),
    "but the gateway doesn't lead to it yet": (scene(at("Routing"), gateway=routes()), ("Routing", 1)),
    "nor is it known whether": (scene(at("Routing"), gateway=routes("t3", answered=0)), ("Routing", 1)),
    "it can be looked at": (scene(at("Routing")), ("Running", 1, 100, 160)),
    "for some time": (scene(at("Running", 1, 50)), ("Running", 1, 50, 110)),
    "which is over": (scene(at("Running", 1, 40)), None),
    "not while some are missing": (scene(at("Running", 1, 40), workloads={"t3": PART}), ("Unready", 1, 40, 100)),
    "nor while the gateway isn't known": (
        scene(at("Running", 1, 40), gateway=routes("t3", answered=0)), ("Routing", 1, 40, 100),
    ),
    "a person is waited for": (scene(at("Routing"), BY_HAND), ("Waiting", 1, 100, None)),
    "who lets it": (scene(at("Waiting", 1, 50), PROMOTED), None),
    "also beforehand": (scene(None, PROMOTED), None),
    "but not before it is up": (scene(None, PROMOTED, workloads={"p2": PART}), ("Starting", 0)),
    "held": (scene(at("Running", 1, 1), replace(BY_TIME, paused=True)), ("Paused", 1, 1, 61)),
    "down": (scene(at("Running", 1, 1), workloads={"t3": DOWN}), ("Down", 1)),
    "up again in part": (scene(at("Down"), workloads={"t3": PART}), ("Down", 1)),
    "up again: its time begins anew": (scene(at("Down", 1)), ("Running", 1, 100, 160)),
    "aborted": (scene(at("Running", 1, 1), replace(BY_TIME, aborted="c")), ("Aborted", 0)),
    "from steps with a share": (scene(replace(at("Running"), weight_pct=10), BY_TIME), ("Routing", 1)),
    "with no pause": (scene(None, replace(BY_TIME, steps=())), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    state, wanted = CASES[name]
    found = decide(state)
    if wanted is None:
        assert found.shares_pct == ((C, 100),)
        assert found.warm == Warm(revision=A, since_s=100)
        assert found.warm_until_s == 130
        return
    phase, step, *times = wanted
    assert found.progress is not None
    assert (found.progress.phase, found.progress.step) == (phase, step)
    assert [found.progress.since_s, found.progress.until_s] == (times or [None, None])
    assert found.preview == (None if phase == "Aborted" else C)
    if not state.progress or not state.progress.weight_pct:
        assert found.shares_pct == ((A, 100),)


def switched(**changes: object) -> RolloutState:
    """C has taken over from A, which is kept."""
    return replace(
        scene(None, active=C, gateway=routes(serves="t3")), **{"warm": Warm(revision=A, since_s=90), **changes}
    )


def test_the_old_one_is_kept_for_a_while() -> None:
    kept = decide(switched())
    assert kept.keep == {"p1", "t1", "p2", "t3"}
    assert kept.unscaled == {"p1", "t1"}
    assert kept.warm_until_s == 120
    over = decide(switched(now_s=120))
    assert over.warm is None
    assert over.keep == {"p2", "t3"}
    assert decide(switched(strategy=replace(BY_TIME, warm_s=5))).warm is None, "somebody needs its room now"
    assert decide(switched(suspended=True)).warm is None


def test_a_third_one_needs_its_room() -> None:
    found = decide(switched(target=D))
    assert found.warm is None
    assert found.active == C
    assert found.keep == {"p2", "t3", "p4", "t4"}


@pytest.mark.parametrize(
    "strategy", [BY_HAND, BY_TIME, PLAIN, Strategy(steps=(Step(weight_pct=5, pause_s=None),), warm_s=9)]
)
def test_back_to_what_is_warm_at_once(strategy: Strategy) -> None:
    found = decide(switched(target=A, strategy=strategy))
    assert found.shares_pct == ((A, 100),)
    assert found.progress is None
    assert found.warm is None, "what somebody went back from is not kept"
    late = decide(switched(target=A, strategy=strategy, now_s=1e6))
    assert late.active == A, "as long as it is there"
    gone = decide(switched(target=A, strategy=BY_HAND, workloads={"p2": UP, "t3": UP, "p1": DOWN}))
    assert gone.active == C
    assert gone.progress is not None


def test_back_to_what_is_warm_in_part_when_it_is_whole() -> None:
    state = switched(target=A, workloads=dict.fromkeys(("p1", "t1", "p2", "t3"), UP) | {"t1": PART})
    found = decide(state)
    assert (found.active, found.progress) == (C, None)
    assert found.warm == state.warm
    assert found.warm_until_s > 1e9, "nobody waits for its end"
    held = decide(switched(target=A, strategy=replace(BY_HAND, paused=True)))
    assert held.active == C
    assert held.progress
    assert held.progress.phase is Phase.PAUSED
    assert decide(switched(target=A, strategy=replace(BY_HAND, aborted="a"))).active == C


def test_what_both_have_is_scaled_on() -> None:
    found = decide(switched(active=B, target=B, warm=Warm(revision=A, since_s=90), gateway=routes(serves="t2")))
    assert found.unscaled == {"t1"}


def test_without_a_delay_nothing_is_kept() -> None:
    assert decide(scene(None, Strategy())).warm is None
    first = decide(scene(None, active=None))
    assert (first.active, first.warm) == (C, None)


@dataclass
class Beside(World):
    """A world in which the target can be looked at, and who served before is kept for a while."""

    strategy: Strategy = BY_HAND
    warm: Warm | None = None
    shown: RevisionState | None = None

    def observe(self) -> RolloutState:
        state = super().observe()
        shown = {self.shown.entry: 1} if self.shown and self.shown.entry in self.workloads else {}
        gateway = replace(state.gateway, routed={**shown, **state.gateway.routed})
        return replace(state, gateway=gateway, warm=self.warm)

    def reconcile(self) -> Decision:
        decision = super().reconcile()
        self.warm, self.shown = decision.warm, decision.preview
        if self.warm:
            assert self.warm.revision != self.active
            assert self.target in (self.active, self.warm.revision), "three at once"
            assert set(self.warm.revision.workloads) <= self.workloads.keys(), "what is kept is there"
        return decision

    def change(self, event: str, index: int, revision: RevisionState, state: WorkloadState) -> None:
        if event == "steps":
            self.strategy = replace(self.strategy, steps=(BY_HAND, BY_TIME)[index].steps)
        else:
            super().change(event, index, revision, state)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_whatever_happens_it_comes_to_its_end(events: list[tuple[str, int, RevisionState, WorkloadState]]) -> None:
    """All requests go to one at all times, there are two at most, and in the end the target is alone."""
    world = Beside()
    for _ in range(2):
        world.reconcile()
        world.change("start", 0, A, UP)
    for event in events:
        world.change(*event)
        world.reconcile()
        assert len(world.told[-1]) <= 1
    world.settle()
    assert world.told[-1] == ((world.target, 100),)
    assert (world.progress, world.warm) == (None, None)
    assert world.workloads.keys() == set(world.target.workloads)
