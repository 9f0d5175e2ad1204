"""A rollout where two revisions never run at once: case by case, and through whatever may happen to it."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.plan.strategy import Strategy, Way
from forebay.rollout.decide import decide
from forebay.rollout.progress import Phase, Progress
from forebay.rollout.state import Decision, GatewayState, RevisionState, RolloutState, Warm, WorkloadState

A = RevisionState(name="a", workloads=("p1", "t1"))
B = RevisionState(name="b", workloads=("p1", "t2"))  # another transformer before the same predictor
C = RevisionState(name="c", workloads=("p2", "t3"))
D = RevisionState(name="d", workloads=("p4", "t4"))
UP = WorkloadState(wanted=2, ready=2, found=2)
PART = WorkloadState(wanted=2, ready=1, found=2)
STARTS = WorkloadState(wanted=2, ready=0, found=2)
NONE = WorkloadState(wanted=0, ready=0)
ENDS = WorkloadState(wanted=0, ready=0, found=1)
STRATEGY = Strategy(way=Way.RECREATE, hold_s=60, deadline_s=600)
BEFORE = {"p1": 2, "t1": 2}


def routes(*entries: str, held_s: float | None = 100, **fields: int) -> GatewayState:
    known = {"pods": 1, "answered": 1} | fields
    return GatewayState(**known, routed=dict.fromkeys(entries, 1), weights_pct={"t1": 100}, held_s=held_s)


def at(phase: str, since_s: float = 100.0, revision: str = "c", **fields: object) -> Progress:
    made = {"held_s": 100.0, "instances": {} if phase == "Holding" else BEFORE} | fields
    return Progress(revision=revision, phase=Phase(phase), since_s=since_s, **made)


def scene(progress: Progress | None, **changes: object) -> RolloutState:
    """A has ended, and C is to start."""
    workloads = {"p1": NONE, "t1": NONE, "p2": NONE, "t3": NONE} | changes.pop("workloads", {})
    state = RolloutState(
        target=C, active=A, workloads=workloads, gateway=routes("t1"), strategy=STRATEGY, progress=progress, now_s=110,
    )  # fmt: skip
    return replace(state, **changes)


SERVES = {"p1": UP, "t1": UP}
NEW = {"p2": UP, "t3": UP}
FREE = routes("t1", held_s=None)
SILENT = routes("t1", "t3", pods=2)
BAD = replace(STRATEGY, promoted="c", promoted_fully=True)
OWN, OTHERS = {"p2", "t3"}, {"p1", "t1"}
CASES = {
    "it holds first": (scene(None, workloads=SERVES, gateway=FREE), "Holding", OWN),
    "but not while one of them is silent": (
        scene(None, workloads=SERVES, gateway=routes("t1", held_s=None, pods=2)), "Holding", OWN,
    ),
    "nor while none is known": (
        scene(None, workloads=SERVES, gateway=replace(FREE, pending=True)), "Holding", OWN,
    ),
    "all pods of the gateway": (scene(at("Holding"), workloads=SERVES, gateway=FREE), "Holding", OWN),
    "since this time": (
        scene(at("Holding"), workloads=SERVES, gateway=routes("t1", held_s=50)), "Holding", OWN,
    ),
    "also those that don't answer": (
        scene(at("Holding"), workloads=SERVES, gateway=routes("t1", answered=0)), "Holding", OWN,
    ),
    "then the old one ends": (scene(at("Holding"), workloads=SERVES), "Ending", OWN | OTHERS),
    "until it is gone": (scene(at("Ending"), workloads={"t1": ENDS}), "Ending", OWN | OTHERS),
    "with its last pod": (scene(at("Ending"), pods={"p1": 1}), "Ending", OWN | OTHERS),
    "of which one is told later": (
        scene(at("Ending"), workloads={"p1": replace(NONE, is_current=False)}), "Ending", OWN | OTHERS,
    ),
    "and another's, too": (scene(at("Ending"), pods={"p9": 1}), "Ending", OWN | OTHERS),
    "then the new one starts": (scene(at("Ending")), "Starting", OTHERS),
    "it starts": (scene(at("Starting"), workloads={"p2": UP, "t3": PART}), "Starting", OTHERS),
    "the gateway is to know it": (scene(at("Starting"), workloads=NEW), "Routing", OTHERS),
    "then it takes over": (scene(at("Routing"), workloads=NEW, gateway=routes("t1", "t3")), None, set()),
    "with no gateway nobody is waited for": (
        scene(at("Routing"), workloads=NEW, gateway=routes(pods=0, answered=0)), None, set(),
    ),
    "a gateway that restarts is waited for": (
        scene(at("Routing"), workloads=NEW, gateway=routes("t1", "t3", answered=0)), "Routing", OTHERS,
    ),
    "one that is silent, too": (scene(at("Routing"), workloads=NEW, gateway=SILENT), "Routing", OTHERS),
    "but not for longer than a request": (scene(at("Routing"), workloads=NEW, gateway=SILENT, now_s=160), None, set()),
    "nor where the others don't know it": (
        scene(at("Routing"), workloads=NEW, gateway=routes("t1", pods=2), now_s=160), "Routing", OTHERS,
    ),
    "or are being asked": (
        scene(at("Routing"), workloads=NEW, gateway=replace(SILENT, pending=True), now_s=160), "Routing", OTHERS,
    ),
    "too late": (scene(at("Starting"), now_s=700, workloads={"p2": UP, "t3": PART}), "Failed", OWN | OTHERS),
    "also when the old one doesn't end": (scene(at("Ending"), now_s=700, pods={"p1": 1}), "Failed", OWN),
    "but not of one that is up": (scene(at("Routing"), now_s=700, workloads=NEW), "Routing", OTHERS),
    "nor of one that somebody wants all the same": (
        scene(at("Starting"), now_s=700, workloads={"t3": PART}, strategy=BAD), "Starting", OTHERS,
    ),
    "a gateway that doesn't hold": (scene(at("Holding"), workloads=SERVES, gateway=FREE, now_s=160), "Failed", OWN),
    "the old one comes back": (scene(at("Failed"), pods={"p2": 1}), "Failed", OWN | OTHERS),
    "when the new one is gone": (scene(at("Failed")), "Failed", OWN),
    "held before it begins": (
        scene(None, workloads=SERVES, strategy=replace(STRATEGY, paused=True)), "Paused", OWN,
    ),
    "not when it has begun": (scene(at("Ending"), strategy=replace(STRATEGY, paused=True)), "Starting", OTHERS),
    "aborted": (scene(at("Starting"), strategy=replace(STRATEGY, aborted="c")), "Aborted", OWN),
    "aborted with pods": (
        scene(at("Starting"), strategy=replace(STRATEGY, aborted="c"), workloads={"p2": STARTS}), "Aborted",
        OWN | OTHERS,
    ),
    "tried again": (scene(at("Aborted"), workloads={"p1": STARTS}), "Ending", OWN | OTHERS),
    "another target meanwhile": (
        scene(at("Starting"), target=D, workloads={"p2": STARTS}), "Ending", OWN | OTHERS | {"p4", "t4"},
    ),
    "which starts when that is gone": (scene(at("Starting"), target=D), "Starting", OWN | OTHERS),
    "in another way by then": (scene(at("Starting"), strategy=Strategy()), "Starting", OTHERS),
    "what both have runs on": (
        scene(at("Holding"), target=B, workloads=SERVES | {"t2": NONE}), "Ending", {"t1", "t2", "p2", "t3"},
    ),
    "of what slept nothing ends": (scene(at("Holding")), "Starting", OTHERS),
    "turned back": (scene(at("Starting"), target=A, workloads=NEW), "Ending", OWN | OTHERS),
    "and the other is gone": (scene(at("Starting"), target=A), "Starting", OWN),
    "turned back before anything ended": (scene(at("Holding"), target=A, workloads=SERVES), None, set()),
    "and it is back": (scene(at("Starting", revision="a"), target=A, workloads=SERVES), None, set()),
}  # fmt: skip

NOT_HELD = {"but not while one of them is silent", "nor while none is known", "a gateway that doesn't hold"}


def test_a_predictor_ends_after_its_transformer() -> None:
    """Requests in the transformer's queue are yet to ask it."""
    both = {"p1": UP, "t1": replace(ENDS, ready=1)}
    state = scene(at("Ending"), workloads=both, pods={"p1": 2, "t1": 1}, transformers={"t1": 1, "t3": 0})
    assert decide(state).ended == {"t1", "p2", "t3"}
    assert decide(replace(state, transformers={"t1": 0, "t3": 0})).ended == {"p1", "t1", "p2", "t3"}


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    state, phase, ended = CASES[name]
    found = decide(state)
    if phase is None:
        assert found.shares_pct == ((state.target, 100),)
        assert found.progress is None
        return
    assert found.shares_pct == ((A, 100),)
    assert found.progress is not None
    assert found.progress.phase == phase
    assert found.ended == ended
    assert (found.progress.held_s is None) is (phase == "Paused" or name in NOT_HELD)
    assert found.progress.revision == state.target.name
    assert found.keep >= set(state.target.workloads) | set(A.workloads)


def test_it_comes_back_with_as_many_as_it_had() -> None:
    found = decide(scene(at("Failed", message="too late")))
    assert found.restored == BEFORE
    assert decide(scene(at("Failed"), pods={"p2": 1})).restored == {}
    assert decide(scene(at("Starting"), target=A)).restored == BEFORE
    assert decide(scene(at("Starting"))).restored == {}
    back = decide(scene(at("Failed", message="too late"), workloads=SERVES))
    assert back.progress == Progress(revision="c", phase=Phase.FAILED, message="too late")
    assert back.restored == {}
    again = decide(scene(back.progress, workloads=SERVES, gateway=FREE, now_s=1e6))
    assert again.progress == back.progress, "it stays so"
    wanted = decide(scene(back.progress, workloads=SERVES, gateway=FREE, strategy=BAD))
    assert wanted.progress
    assert wanted.progress.phase is Phase.HOLDING


def test_requests_are_let_go_to_one_instance_of_many_when_they_waited_long() -> None:
    state = scene(at("Failed"), workloads={"p1": PART, "t1": UP})
    assert decide(state).progress.held_s == 100
    assert decide(replace(state, now_s=160)).progress.held_s is None


def test_a_pod_of_the_gateway_that_is_silent_holds_requests_up_for_as_long_as_one_waits() -> None:
    state = scene(at("Failed"), workloads=SERVES, gateway=SILENT)
    assert decide(state).progress.held_s == 100
    assert decide(replace(state, now_s=160)).progress == Progress(revision="c", phase=Phase.FAILED)
    back = replace(state, progress=at("Starting", revision="a"), target=A)
    assert decide(back).progress.held_s == 100
    assert decide(replace(back, now_s=160)).progress is None
    late = scene(at("Holding"), workloads=SERVES, gateway=SILENT, now_s=160)
    assert decide(late).progress.phase is Phase.FAILED
    assert decide(late).progress.held_s is None
    wanted = decide(replace(late, progress=decide(late).progress, strategy=BAD)).progress
    assert (wanted.phase, wanted.held_s) == (Phase.HOLDING, None), "not again before it answers"


def test_why_it_failed() -> None:
    found = decide(scene(at("Starting"), now_s=700, workloads={"p2": UP, "t3": PART})).progress
    assert found.message == "3 of its 4 instances were ready within 600 s"


def test_what_is_warm_takes_over_at_once() -> None:
    state = scene(None, workloads=SERVES | NEW, gateway=FREE, warm=Warm(revision=C, since_s=100))
    assert decide(state).shares_pct == ((C, 100),)


def say(before: Strategy, event: str, revision: RevisionState) -> Strategy:
    """What people write."""
    return {
        "pause": replace(before, paused=not before.paused),
        "abort": replace(before, aborted=revision.name),
        "promote": replace(before, promoted=revision.name, promoted_fully=True),
    }[event]


# Shares, the entry of the preview, and since when requests are held.
Told = tuple[tuple[tuple[RevisionState, int], ...], str, float | None]


@dataclass
class World:
    """A gateway that reads late, Deployments whose pods come and go in their time, and people."""

    target: RevisionState = A
    active: RevisionState | None = None
    progress: Progress | None = None
    warm: Warm | None = None
    strategy: Strategy = STRATEGY
    workloads: dict[str, WorkloadState] = field(default_factory=dict)
    # Of workloads that were deleted.
    remains: dict[str, int] = field(default_factory=dict)
    told: list[Told] = field(default_factory=lambda: [((), "", None)])
    read: list[int] = field(default_factory=lambda: [0, 0])
    answers: list[bool] = field(default_factory=lambda: [True, True])
    now_s: float = 0.0

    def observe(self) -> RolloutState:
        seen = [self.told[index] for index, answers in zip(self.read, self.answers, strict=True) if answers]
        entries = {each.entry for shares, _, _ in seen for each, _ in shares} | {name for _, name, _ in seen if name}
        counts = {name: self.workloads[name].ready for name in entries if name in self.workloads}
        weights = [{each.entry: pct for each, pct in shares} for shares, _, _ in seen]
        least = {name: min(each.get(name, 0) for each in weights) for name in counts}
        held = {held_s for _, _, held_s in seen}
        gateway = GatewayState(
            pods=2, answered=len(seen), routed=counts, held_s=held.pop() if len(held) == 1 else None,
            weights_pct={name: pct for name, pct in least.items() if pct},
        )  # fmt: skip
        pods = {name: each.found for name, each in self.workloads.items()} | self.remains
        return RolloutState(
            target=self.target, active=self.active, workloads=self.workloads, gateway=gateway, strategy=self.strategy,
            progress=self.progress, now_s=self.now_s, pods=pods, warm=self.warm,
        )  # fmt: skip

    def reconcile(self) -> Decision:
        self.now_s += 1
        for name in self.target.workloads:
            self.workloads.setdefault(name, NONE)
        decision = decide(self.observe())
        self.active, self.progress, self.warm = decision.active, decision.progress, decision.warm
        preview = decision.preview.entry if decision.preview else ""
        status = (decision.shares_pct, preview, self.progress.held_s if self.progress else None)
        if status != self.told[-1]:
            self.told.append(status)
        self.remains |= {
            name: each.found for name, each in self.workloads.items() if name not in decision.keep and each.found
        }
        self.workloads = {
            name: self.scale(name, each, decision) for name, each in self.workloads.items() if name in decision.keep
        }
        self.check(decision)
        return decision

    def scale(self, name: str, found: WorkloadState, decision: Decision) -> WorkloadState:
        if name in decision.ended:
            return replace(found, wanted=0, ready=0)
        if name in self.target.workloads or (name in decision.restored and not found.wanted):
            return replace(found, wanted=2)
        return found

    def check(self, decision: Decision) -> None:
        assert sum(pct for _, pct in decision.shares_pct) == (100 if decision.active else 0)
        if self.strategy.way is Way.RECREATE and decision.active:
            running = {name for name, each in self.workloads.items() if each.found} | self.remains.keys()
            assert not running & {"p1", "t1"} or not running & {"p2", "t3"}, "both run at once"
            assert not running & {"p2", "t3"} or not running & {"p4", "t4"}, "both run at once"
        for index in self.read:
            shares, _, held_s = self.told[index]
            wanted = [self.workloads.get(name, NONE).wanted for each, _ in shares for name in each.workloads]
            assert held_s is not None or all(wanted), "requests go where nobody is, and aren't held"

    def run(self) -> None:
        """What is to end ends, and what is to start starts."""
        self.remains = {}
        self.workloads = {
            name: replace(each, found=each.wanted, ready=each.wanted) for name, each in self.workloads.items()
        }

    def change(self, event: str, index: int, revision: RevisionState) -> None:
        match event:
            case "target":
                self.target = revision
            case "run":
                self.run()
            case "pods":
                for name in sorted(self.workloads)[index : index + 2]:
                    found = self.workloads[name]
                    self.workloads[name] = replace(found, found=found.wanted, ready=min(found.ready, found.wanted))
            case "answers":
                self.answers[index] = not self.answers[index]
            case "read":
                self.read[index] = len(self.told) - 1
            case "time":
                self.now_s += 45
            case _:
                self.strategy = say(self.strategy, event, revision)

    def pass_time(self) -> None:
        """Nobody does anything, instances come up, gateways read; of these one is silent."""
        self.answers = [True, False]
        for _ in range(12):
            self.run()
            self.read = [len(self.told) - 1] * 2
            self.now_s += 45
            self.reconcile()

    def settle(self) -> None:
        """People let it go, instances come up, gateways read."""
        self.strategy = replace(self.strategy, paused=False, aborted="", promoted=self.target.name, promoted_fully=True)
        for _ in range(12):
            self.run()
            self.read, self.answers = [len(self.told) - 1] * 2, [True, True]
            self.reconcile()


EVENTS = st.tuples(
    st.sampled_from(["target", "run", "run", "pods", "answers", "read", "read", "time", "pause", "abort", "promote"]),
    st.integers(0, 1),
    st.sampled_from([A, B, C, D]),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_whatever_happens_two_never_run_at_once_and_it_comes_to_its_end(
    events: list[tuple[str, int, RevisionState]],
) -> None:
    """Nor is there a request that is neither held nor has somebody to go to."""
    world = World()
    for _ in range(2):
        world.reconcile()
        world.run()
        world.read = [len(world.told) - 1] * 2
    for event in events:
        world.change(*event)
        world.reconcile()
    world.pass_time()
    assert world.told[-1][2] is None, "requests wait for a pod of the gateway that is silent"
    world.settle()
    assert world.told[-1] == (((world.target, 100),), "", None)
    assert world.progress is None
    assert world.workloads.keys() == set(world.target.workloads)
