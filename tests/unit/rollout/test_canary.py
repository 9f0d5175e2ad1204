"""A rollout by steps: case by case, and through whatever may happen to it."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.plan.analysis import Analysis
from forebay.plan.strategy import Step, Strategy
from forebay.rollout.analysis.verdict import NOT_COUNTED, Outcome, Verdict
from forebay.rollout.canary import advance
from forebay.rollout.decide import decide
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, GatewayState, RevisionState, RolloutState, WorkloadState

A = RevisionState(name="a", workloads=("p1", "t1"))
B = RevisionState(name="b", workloads=("p1", "t2"))  # another transformer before the same predictor
C = RevisionState(name="c", workloads=("p2", "t3"))
REVISIONS = [A, B, C]
UP, PART, DOWN = WorkloadState(wanted=2, ready=2), WorkloadState(wanted=2, ready=1), WorkloadState(wanted=2, ready=0)
CRASHED = WorkloadState(wanted=2, ready=1, crashed=1)
TOLD_LATER = WorkloadState(wanted=3, ready=0, is_current=False)
STEPS = (Step(weight_pct=10, pause_s=60), Step(weight_pct=50, pause_s=None), Step(weight_pct=80, pause_s=5))
ALL = ("p1", "t1", "p2", "t3")


def routes(weight_pct: int = 0, *, known: bool = True) -> GatewayState:
    shares = {name: pct for name, pct in {"t1": 100 - weight_pct, "t3": weight_pct}.items() if pct}
    return GatewayState(pods=1, answered=int(known), routed=dict.fromkeys(shares, 1), weights_pct=shares)


def at(phase: str, step: int = 0, weight_pct: int = 0, since_s: float | None = None) -> Progress:
    return Progress(revision="c", phase=Phase(phase), step=step, weight_pct=weight_pct, since_s=since_s)


def scene(progress: Progress | None, weight_pct: int = 0, *, now_s: float = 100.0, **changes: object) -> RolloutState:
    workloads = dict.fromkeys(ALL, UP) | changes.pop("workloads", {})
    state = RolloutState(
        target=C, active=A, workloads=workloads, gateway=routes(weight_pct), strategy=Strategy(steps=STEPS),
        progress=progress, now_s=now_s,
    )  # fmt: skip
    return replace(state, **changes)


def strategy(**changes: object) -> Strategy:
    return replace(Strategy(steps=STEPS), **changes)


GOOD, BAD = (Verdict(outcome=each, message="so it is") for each in (Outcome.PASSED, Outcome.FAILED))
MISSING = Verdict(outcome=Outcome.INCONCLUSIVE, message="Paused by missing metrics")
LOOKED_AT = strategy(analysis=Analysis())
AGAIN, OTHER_AGAIN = strategy(retried="c", attempt=2), strategy(retried="b", attempt=2)
LAGS = {"gateway": routes(known=False)}
TO_2, TO_END = strategy(promoted="c", promoted_step=2), strategy(promoted="c", promoted_step=3)
CASES = {
    "it starts": (scene(None, workloads={"t3": PART}), ("Starting", 0, 0)),
    "the first step": (scene(None), ("Routing", 1, 10)),
    "not before the gateway is known": (scene(None, **LAGS), ("Routing", 0, 0)),
    "nor while it routes to another": (scene(None, 10), ("Routing", 0, 0)),
    "its time begins when the gateway follows": (scene(at("Routing", 1, 10), 10), ("Running", 1, 10, 100, 160)),
    "and not before": (scene(at("Routing", 1, 10)), ("Routing", 1, 10)),
    "it runs": (scene(at("Running", 1, 10, 50), 10), ("Running", 1, 10, 50, 110)),
    "a gateway that restarts is no matter": (scene(at("Running", 1, 10, 50), **LAGS), ("Running", 1, 10, 50, 110)),
    "the next step": (scene(at("Running", 1, 10, 40), 10), ("Routing", 2, 50)),
    "not while some are missing": (
        scene(at("Running", 1, 10, 40), 10, workloads={"t3": PART}), ("Unready", 1, 10, 40, 100),
    ),
    "nor while the gateway isn't known": (scene(at("Running", 1, 10, 40), **LAGS), ("Routing", 1, 10, 40, 100)),
    "a person is waited for": (scene(at("Running", 2, 50, 1), 50), ("Waiting", 2, 50, 1, None)),
    "who lets it go on": (scene(at("Waiting", 2, 50, 1), 50, strategy=TO_2), ("Routing", 3, 80)),
    "also beforehand": (scene(at("Running", 1, 10, 99), 10, strategy=TO_2), ("Routing", 3, 80)),
    "and at the very beginning": (scene(None, strategy=TO_2), ("Routing", 3, 80)),
    "but of another revision it says nothing": (
        scene(at("Waiting", 2, 50, 1), 50, strategy=replace(TO_2, promoted="a")), ("Waiting", 2, 50, 1, None),
    ),
    "the end": (scene(at("Running", 3, 80, 1), 80), None),
    "the end before its time": (scene(at("Running", 1, 10, 99), 10, strategy=TO_END), None),
    "but only of one that is up": (
        scene(at("Running", 1, 10, 99), 10, strategy=TO_END, workloads={"p2": PART}), ("Unready", 1, 10, 99, 159),
    ),
    "held": (scene(at("Running", 1, 10, 1), 10, strategy=strategy(paused=True)), ("Paused", 1, 10, 1, 61)),
    "held before the first step": (scene(None, strategy=strategy(paused=True)), ("Paused", 0, 0)),
    "held with no steps at all": (scene(None, strategy=Strategy(paused=True)), ("Paused", 0, 0)),
    "down": (scene(at("Running", 1, 10, 1), 10, workloads={"t3": DOWN}), ("Down", 1, 0)),
    "down while held": (
        scene(at("Paused", 1, 10, 1), 10, workloads={"t3": DOWN}, strategy=strategy(paused=True)), ("Down", 1, 0),
    ),
    "one that crashed": (scene(at("Running", 1, 10, 1), 10, workloads={"p2": CRASHED}), ("Down", 1, 0)),
    "gone": (scene(at("Running", 1, 10, 1), 10, workloads={"p2": WorkloadState(wanted=0, ready=0)}), ("Down", 1, 0)),
    "one that isn't told of yet is not down": (
        scene(at("Running", 1, 10, 50), 10, workloads={"t3": TOLD_LATER}), ("Running", 1, 10, 50, 110),
    ),
    "up again in part": (scene(at("Down", 2), workloads={"t3": PART}), ("Down", 2, 0)),
    "up again": (scene(at("Down", 2)), ("Routing", 2, 50)),
    "up again before the gateway let go of it": (scene(at("Down", 2), 50), ("Routing", 2, 0)),
    "aborted": (scene(at("Running", 1, 10, 1), 10, strategy=strategy(aborted="c")), ("Aborted", 0, 0)),
    "another aborted": (
        scene(at("Running", 1, 10, 50), 10, strategy=strategy(aborted="b")), ("Running", 1, 10, 50, 110),
    ),
    "tried again": (scene(at("Aborted")), ("Routing", 1, 10)),
    "after another revision": (scene(replace(at("Running", 2, 50, 1), revision="b")), ("Routing", 1, 10)),
    "other weights": (
        scene(at("Running", 1, 10, 1), 10, strategy=Strategy(steps=(Step(weight_pct=30, pause_s=5),))),
        ("Routing", 1, 30),
    ),
    "no step is over before its analysis passes": (
        scene(at("Running", 1, 10, 40), 10, strategy=LOOKED_AT), ("Analyzing", 1, 10, 40, 100),
    ),
    "nor while counters are missing": (
        scene(at("Analyzing", 1, 10, 40), 10, strategy=LOOKED_AT, verdict=MISSING), ("Analyzing", 1, 10, 40, 100),
    ),
    "nor before its time": (
        scene(at("Running", 1, 10, 50), 10, strategy=LOOKED_AT, verdict=GOOD), ("Running", 1, 10, 50, 110),
    ),
    "a step that passed": (
        scene(at("Analyzing", 1, 10, 40), 10, strategy=LOOKED_AT, verdict=GOOD), ("Routing", 2, 50),
    ),
    "who lets it go on needs no analysis": (
        scene(at("Running", 1, 10, 99), 10, strategy=replace(TO_2, analysis=Analysis())), ("Routing", 3, 80),
    ),
    "one that fails before its time": (
        scene(at("Running", 1, 10, 99), 10, strategy=LOOKED_AT, verdict=BAD), ("Failed", 1, 0),
    ),
    "while a person is waited for": (
        scene(at("Waiting", 2, 50, 1), 50, strategy=LOOKED_AT, verdict=BAD), ("Failed", 2, 0),
    ),
    "and while it is held": (
        scene(at("Paused", 1, 10, 1), 10, strategy=replace(LOOKED_AT, paused=True), verdict=BAD), ("Failed", 1, 0),
    ),
    "it stays failed": (scene(at("Failed", 1)), ("Failed", 1, 0)),
    "with no steps as well": (scene(at("Failed", 1), strategy=Strategy()), ("Failed", 1, 0)),
    "but not of another": (scene(replace(at("Failed", 1), revision="b")), ("Routing", 1, 10)),
    "another attempt": (scene(at("Failed", 1), strategy=AGAIN), ("Routing", 1, 10)),
    "an attempt that was made": (scene(replace(at("Failed", 1), attempt=2), strategy=AGAIN), ("Failed", 1, 0)),
    "an attempt at another": (scene(at("Failed", 1), strategy=OTHER_AGAIN), ("Failed", 1, 0)),
    "somebody wants it all the same": (
        scene(at("Failed", 1), strategy=replace(TO_END, promoted_fully=True)), None,
    ),
    "but not for its last step alone": (scene(at("Failed", 1), strategy=TO_END), ("Failed", 1, 0)),
    "failed and then aborted": (scene(at("Failed", 1), strategy=strategy(aborted="c")), ("Aborted", 0, 0)),
    "fewer steps": (
        scene(at("Waiting", 2, 50, 1), 50, strategy=Strategy(steps=(Step(weight_pct=30, pause_s=5),))),
        ("Routing", 1, 30),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    state, wanted = CASES[name]
    found = advance(state, A)
    if wanted is None:
        assert found is None
        assert decide(state).shares_pct == ((C, 100),)
        return
    assert found is not None
    phase, step, weight_pct, *times = wanted
    assert (found.phase, found.step, found.weight_pct) == (phase, step, weight_pct)
    assert [found.since_s, found.until_s] == (times or [None, None])
    assert decide(state).progress == found


def test_an_aborted_one_ends_when_nobody_routes_to_it() -> None:
    state = scene(at("Running", 1, 10, 1), 10, strategy=strategy(aborted="c"), generation=2)
    assert decide(state).ended == set()
    gone = replace(state, progress=at("Aborted"), gateway=routes())
    assert decide(gone).ended == set(), "the gateway hasn't heard of it"
    heard = replace(gone, gateway=replace(routes(), generation=2))
    assert decide(heard).ended == {"p2", "t3"}
    assert decide(heard).keep == {*ALL}
    unknown = replace(heard, gateway=routes(known=False), workloads=dict.fromkeys(("p1", "t1"), UP))
    assert decide(unknown).ended == {"p2", "t3"}, "what has ended stays so"
    shared = replace(heard, target=B, strategy=strategy(aborted="b"))
    assert decide(shared).ended == {"t2"}


def test_one_that_failed_ends_when_nobody_routes_to_it() -> None:
    state = scene(at("Running", 1, 10, 99), 10, strategy=LOOKED_AT, verdict=BAD)
    decision = decide(state)
    assert (decision.shares_pct, decision.ended, decision.keep) == (((A, 100),), set(), {*ALL})
    assert decision.progress is not None
    assert (decision.progress.message, decision.progress.verdict) == ("so it is", BAD)
    told = replace(state, progress=decision.progress, verdict=None)
    assert decide(told).ended == set(), "the gateway hasn't heard of it"
    assert decide(replace(told, gateway=routes())).ended == {"p2", "t3"}


def test_attempts_are_counted() -> None:
    begun = advance(scene(at("Failed", 1), strategy=AGAIN), A)
    assert begun is not None
    assert (begun.attempt, begun.message) == (2, "")
    looked_at = replace(AGAIN, analysis=Analysis())
    failed = advance(scene(replace(at("Running", 1, 10, 50), attempt=2), 10, strategy=looked_at, verdict=BAD), A)
    assert failed is not None
    assert (failed.phase, failed.attempt) == (Phase.FAILED, 2)
    # What was asked for before it ever failed is no attempt that is left.
    early = advance(scene(None, strategy=looked_at), A)
    assert early is not None
    assert early.attempt == 2


def test_what_is_not_counted_yet_is_said() -> None:
    found = advance(scene(at("Running", 1, 10, 50), 10, strategy=LOOKED_AT), A)
    assert found is not None
    assert found.verdict == NOT_COUNTED


def test_with_no_steps_it_takes_over_at_once() -> None:
    assert decide(scene(None, strategy=Strategy())).shares_pct == ((C, 100),)
    assert decide(scene(at("Running", 1, 10, 1), 10, strategy=Strategy())).shares_pct == ((C, 100),)
    assert decide(scene(at("Running", 1, 10, 1), 10, strategy=Strategy(), workloads={"t3": PART})).shares_pct == (
        (A, 100),
    )


def say(before: Strategy, event: str, index: int, revision: RevisionState) -> Strategy:
    """What people write."""
    return {
        "pause": replace(before, paused=not before.paused),
        "promote": replace(before, promoted=revision.name, promoted_step=index + 1),
        "abort": replace(before, aborted=revision.name),
        "analysis": replace(before, analysis=None if before.analysis else Analysis()),
        "retry": replace(before, retried=revision.name, attempt=before.attempt + 1),
        "want": replace(before, promoted=revision.name, promoted_step=3, promoted_fully=True),
        "steps": replace(before, steps=STEPS[: index + 1]),
    }[event]


@dataclass
class World:
    """A gateway that reads late, instances that come and go, and people."""

    target: RevisionState = A
    active: RevisionState | None = None
    progress: Progress | None = None
    strategy: Strategy = field(default_factory=lambda: Strategy(steps=STEPS))
    workloads: dict[str, WorkloadState] = field(default_factory=dict)
    # What the status said, one after the other, and how much of it each pod of the gateway has read.
    told: list[tuple[tuple[RevisionState, int], ...]] = field(default_factory=lambda: [()])
    read: list[int] = field(default_factory=lambda: [0, 0])
    answers: bool = True
    now_s: float = 0.0
    verdict: Verdict | None = None

    def observe(self) -> RolloutState:
        seen = [{each.entry: pct for each, pct in self.told[index]} for index in self.read]
        entries = {name for each in seen for name in each if name in self.workloads}
        weights = {name: least for name in entries if (least := min(each.get(name, 0) for each in seen))}
        gateway = GatewayState(
            pods=2, answered=2 if self.answers else 1, routed=dict.fromkeys(entries, 1), weights_pct=weights
        )
        return RolloutState(
            target=self.target, active=self.active, workloads=self.workloads, gateway=gateway, strategy=self.strategy,
            progress=self.progress, now_s=self.now_s, verdict=self.verdict,
        )  # fmt: skip

    def reconcile(self) -> Decision:
        for name in self.target.workloads:
            self.workloads.setdefault(name, DOWN)
        before, state = self.progress, self.observe()
        decision = decide(state)
        self.check(before, state, decision)
        self.active, self.progress = decision.active, decision.progress
        if decision.shares_pct != self.told[-1]:
            self.told.append(decision.shares_pct)
        self.workloads = {
            name: WorkloadState(wanted=0, ready=0) if name in decision.ended else found
            for name, found in self.workloads.items()
            if name in decision.keep
        }
        again = decide(self.observe())
        assert again.shares_pct in (decision.shares_pct, ((self.target, 100),)) or self.is_later(again, decision)
        return decision

    def is_later(self, one: Decision, other: Decision) -> bool:
        """Whether nothing but a wait that was over at once came between."""
        return bool(one.progress and other.progress and one.progress.step >= other.progress.step)

    def check(self, before: Progress | None, state: RolloutState, decision: Decision) -> None:
        shares = {each.name: pct for each, pct in decision.shares_pct}
        assert sum(shares.values()) == (100 if decision.active else 0)
        assert all(0 < pct <= 100 for pct in shares.values())
        progress = decision.progress
        if progress is None:
            return
        assert decision.active
        if progress.phase in (Phase.FAILED, Phase.ABORTED):
            assert shares == {decision.active.name: 100}
        judged = state.strategy.analysis and state.strategy.promoted != progress.revision
        if judged and before and before.revision == progress.revision and progress.step > before.step >= 1:
            assert state.verdict == GOOD, "a step is over only when its analysis passes"
        # Whoever serves has at least what the steps leave to it.
        steps = state.strategy.steps
        most = max([each.weight_pct for each in steps] + [before.weight_pct if before else 0])
        assert shares[decision.active.name] >= 100 - most
        was = before.weight_pct if before and before.revision == progress.revision else 0
        if progress.weight_pct not in (0, was):
            target = [state.workloads[name] for name in state.target.workloads]
            assert all(each.is_up for each in target), "a share is given to what is up"
            weights = {decision.active.entry: 100 - was, state.target.entry: was}
            assert state.gateway.is_known
            assert state.gateway.weights_pct == {name: pct for name, pct in weights.items() if pct}
        assert not decision.ended & set(decision.active.workloads)
        # One that had ended already may be shown again before it has any instance.
        routed = {name for name in decision.ended if name in state.gateway.routed and state.find(name).wanted}
        assert not routed, "requests go to what ends"

    def change(self, event: str, index: int, revision: RevisionState, state: WorkloadState) -> None:
        match event:
            case "target":
                self.target = revision
            case "start":
                self.workloads = dict.fromkeys(self.workloads, UP)
            case "instances":
                self.workloads.update((name, state) for name in sorted(self.workloads)[index : index + 2])
            case "answers":
                self.answers = not self.answers
            case "read":
                self.read[index] = len(self.told) - 1
            case "verdict":
                self.verdict = (GOOD, BAD)[index]
            case "time":
                self.now_s += 30
            case _:
                self.strategy = say(self.strategy, event, index, revision)

    def settle(self) -> None:
        """People let it go, instances are up, gateways read, time goes by."""
        self.strategy = replace(self.strategy, paused=False, aborted="")
        self.verdict = GOOD
        if self.progress and self.progress.phase is Phase.FAILED:
            self.strategy = replace(self.strategy, retried=self.progress.revision, attempt=self.progress.attempt + 1)
        for _ in range(20):
            self.workloads = dict.fromkeys(self.workloads, UP)
            self.read, self.answers = [len(self.told) - 1] * 2, True
            self.now_s += 3600
            if self.progress and self.progress.phase is Phase.WAITING:
                self.strategy = replace(
                    self.strategy, promoted=self.progress.revision, promoted_step=self.progress.step
                )
            self.reconcile()


EVENTS = st.tuples(
    st.sampled_from(
        [
            "target",
            "start",
            "instances",
            "answers",
            "read",
            "read",
            "time",
            "pause",
            "promote",
            "abort",
            "steps",
            "analysis",
            "verdict",
            "retry",
            "want",
        ]
    ),
    st.integers(0, 1),
    st.sampled_from(REVISIONS),
    st.sampled_from([UP, PART, DOWN, CRASHED, TOLD_LATER]),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_whatever_happens_it_comes_to_its_end(events: list[tuple[str, int, RevisionState, WorkloadState]]) -> None:
    """Shares are whole and given to what is up alone, and out of every state there is a way to the target."""
    world = World()
    for _ in range(2):
        world.reconcile()
        world.change("start", 0, A, UP)
    for event in events:
        world.change(*event)
        world.reconcile()
    world.settle()
    assert world.told[-1] == ((world.target, 100),)
    assert world.progress is None
    assert world.workloads.keys() == set(world.target.workloads)


def test_one_that_goes_down_again_and_again_fails_where_it_is_judged() -> None:
    """Each time its step begins anew, and with it what is counted: there would never be enough."""
    known = at("Running", 1, 10, 50)
    for number in (1, 2):
        known = advance(scene(known, 10, workloads={"t3": DOWN}, strategy=LOOKED_AT), A)
        assert (known.phase, known.falls) == (Phase.DOWN, number)
        assert advance(scene(known, workloads={"t3": DOWN}, strategy=LOOKED_AT), A) == known, "it is one fall"
        known = advance(scene(known, strategy=LOOKED_AT), A)
        assert (known.phase, known.falls) == (Phase.ROUTING, number)
    falls = scene(known, 10, workloads={"t3": DOWN}, strategy=LOOKED_AT)
    failed = advance(falls, A)
    assert (failed.phase, failed.weight_pct, failed.falls) == (Phase.FAILED, 0, 3)
    assert failed.message == "its instances went down 3 times in this step"
    assert advance(replace(falls, strategy=strategy()), A).phase is Phase.DOWN, "nobody judges it"
    wanted = replace(LOOKED_AT, promoted="c", promoted_step=3, promoted_fully=True)
    assert advance(replace(falls, strategy=wanted), A).phase is Phase.DOWN
    again = advance(scene(failed, strategy=replace(LOOKED_AT, retried="c", attempt=2)), A)
    assert (again.phase, again.falls, again.attempt) == (Phase.ROUTING, 0, 2)


def test_one_whose_instances_crash_in_turn_fails_as_well() -> None:
    """The others are up, but the step is never over."""
    state = scene(at("Running", 1, 10, 50), 10, strategy=LOOKED_AT)
    crashes = {"t3": WorkloadState(wanted=3, ready=2, crashed=1)}
    for number in range(1, 10):
        down = advance(replace(state, workloads=state.workloads | crashes), A)
        assert (down.phase, down.falls, down.partial_falls) == (Phase.DOWN, 0, number)
        begun = advance(replace(state, progress=down, gateway=routes()), A)
        assert (begun.phase, begun.partial_falls) == (Phase.ROUTING, number)
        state = replace(state, progress=advance(replace(state, progress=begun), A))
        assert state.progress.phase is Phase.RUNNING
    falls = replace(state, workloads=state.workloads | crashes)
    failed = advance(falls, A)
    assert (failed.phase, failed.weight_pct) == (Phase.FAILED, 0)
    assert failed.message == "some of its instances went down 10 times in this step"
    assert advance(replace(falls, strategy=strategy()), A).phase is Phase.DOWN, "nobody judges it"
    again = advance(scene(failed, strategy=AGAIN), A)
    assert (again.phase, again.partial_falls) == (Phase.ROUTING, 0)
    passed = advance(replace(state, strategy=replace(LOOKED_AT, promoted="c", promoted_step=1)), A)
    assert (passed.step, passed.partial_falls) == (2, 0)


def test_of_many_instances_one_may_crash_now_and_then_and_each_step_counts_anew() -> None:
    crashed = WorkloadState(wanted=20, ready=19, crashed=1)
    known = replace(at("Running", 1, 10, 50), falls=2)
    found = advance(scene(known, 10, workloads={"t3": crashed}, strategy=LOOKED_AT), A)
    assert (found.phase, found.falls) == (Phase.DOWN, 2)
    alone = WorkloadState(wanted=1, ready=1, crashed=1)
    assert advance(scene(known, 10, workloads={"t3": alone}, strategy=LOOKED_AT), A).phase is Phase.FAILED
    passed = replace(LOOKED_AT, promoted="c", promoted_step=1)
    found = advance(scene(replace(known, since_s=0.0), 10, strategy=passed), A)
    assert (found.step, found.falls) == (2, 0)
    often = scene(replace(known, falls=1000), 10, workloads={"t3": DOWN})
    assert advance(often, A).falls == 1000, "as the status has it"
