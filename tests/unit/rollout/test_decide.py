"""Who gets the traffic, and what stays: case by case, and against a gateway that lags behind."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.rollout.decide import decide
from forebay.rollout.state import GatewayState, RevisionState, RolloutState, WorkloadState

A = RevisionState(name="a", workloads=("p1", "t1"))
B = RevisionState(name="b", workloads=("p1", "t2"))  # another transformer before the same predictor
C = RevisionState(name="c", workloads=("p2", "t3"))
D = RevisionState(name="d", workloads=("p1",))  # no transformer
REVISIONS = [A, B, C, D]
UP, DOWN, PART = WorkloadState(wanted=2, ready=2), WorkloadState(wanted=2, ready=0), WorkloadState(wanted=2, ready=1)


def routes(*entries: str, pods: int = 1, answered: int = 1) -> GatewayState:
    return GatewayState(pods=pods, answered=answered, routed=dict.fromkeys(entries, 1))


def workloads(up: str = "", part: str = "", down: str = "") -> dict[str, WorkloadState]:
    kinds = ((up, UP), (part, PART), (down, DOWN))
    return {name: state for names, state in kinds for name in names.split()}


CASES = {
    "nobody serves before the first is there": (A, None, workloads(), routes(), None, "p1 t1"),
    "nor before all of it is": (A, None, workloads(up="p1", down="t1"), routes(), None, "p1 t1"),
    "the first serves with its first instances": (A, None, workloads(part="p1 t1"), routes(), A, "p1 t1"),
    "it serves on when it loses instances": (A, A, workloads(down="p1 t1"), routes("t1"), A, "p1 t1"),
    "a new one waits until it is whole": (C, A, workloads(up="p1 t1 p2", part="t3"), routes("t1"), A, "p1 t1 p2 t3"),
    "then it takes over, and the old one stays": (C, A, workloads(up="p1 t1 p2 t3"), routes("t1"), C, "p1 t1 p2 t3"),
    "while anybody routes to it": (C, C, workloads(up="p1 t1 p2 t3"), routes("t1", "t3"), C, "p1 t1 p2 t3"),
    "or somebody doesn't answer": (C, C, workloads(up="p1 t1 p2 t3"), routes("t3", pods=2), C, "p1 t1 p2 t3"),
    "and goes then": (C, C, workloads(up="p1 t1 p2 t3"), routes("t3"), C, "p2 t3"),
    "what both share stays": (B, B, workloads(up="p1 t1 t2"), routes("t2"), B, "p1 t2"),
    "a transformer can be taken away": (D, A, workloads(up="p1 t1"), routes("t1"), D, "p1 t1"),
    "in two steps": (D, D, workloads(up="p1 t1"), routes("p1"), D, "p1"),
    "one that never came up goes": (A, A, workloads(up="p1 t1", down="p2 t3"), routes("t1"), A, "p1 t1"),
    "so does one in between": (C, A, workloads(up="p1 t1", down="t2 p2 t3"), routes("t1"), A, "p1 t1 p2 t3"),
    "what was deleted by hand serves no more": (C, A, workloads(up="p2 t3"), routes("t1"), C, "p2 t3"),
    "and is waited for by nobody": (C, A, workloads(part="p2", down="t3"), routes("t1"), None, "p2 t3"),
    "with no gateway nobody routes": (C, C, workloads(up="p1 t1 p2 t3"), routes(pods=0, answered=0), C, "p2 t3"),
    "what is scaled to nothing doesn't take over": (
        C, A, workloads(up="p1 t1 t3") | {"p2": WorkloadState(wanted=0, ready=0)}, routes("t1"), A, "p1 t1 p2 t3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    target, active, found, gateway, expected, keep = CASES[name]
    decision = decide(RolloutState(target=target, active=active, workloads=found, gateway=gateway))
    assert decision.active == expected
    assert decision.keep == set(keep.split())


ASKED = {
    "a predictor stays while its transformer drains": (C, "p1 t1 p2 t3", "p1 p2 t3"),
    "also when that is gone but for its pod": (C, "p1 p2 t3", "p1 p2 t3"),
    "one that only lost its transformer serves": (B, "p1 t1 t2", "p1 t2"),
}


@pytest.mark.parametrize("name", ASKED)
def test_requests_in_the_queue_of_a_transformer_that_ends_are_answered(name: str) -> None:
    target, up, keep = ASKED[name]
    state = RolloutState(
        target=target, active=target, workloads=workloads(up=up), gateway=routes(target.entry),
        transformers={"t1": 1, target.entry: 2},
    )  # fmt: skip
    assert decide(state).keep == set(keep.split())
    assert decide(replace(state, transformers={"t1": 0, target.entry: 2})).keep == {*target.workloads}


@dataclass
class Pod:
    """A pod of the gateway: which of what the status named it has read last."""

    read: int = 0
    answers: bool = True


@dataclass
class World:
    """What is there: `told` are the active revisions that the status named one after another."""

    target: RevisionState = A
    told: list[RevisionState | None] = field(default_factory=lambda: [None])
    workloads: dict[str, WorkloadState] = field(default_factory=dict)
    gateway: list[Pod] = field(default_factory=lambda: [Pod(), Pod()])

    def reconcile(self) -> None:
        for name in self.target.workloads:
            self.workloads.setdefault(name, DOWN)
        answered = [pod for pod in self.gateway if pod.answers]
        routed = {entry for pod in answered if (entry := self.entry_of(pod)) in self.workloads}
        gateway = GatewayState(
            pods=len(self.gateway), answered=len(answered), routed=dict.fromkeys(filter(None, routed), 1)
        )
        state = RolloutState(target=self.target, active=self.told[-1], workloads=self.workloads, gateway=gateway)
        decision = decide(state)
        if decision.active != self.told[-1]:
            self.told.append(decision.active)
        self.workloads = {name: found for name, found in self.workloads.items() if name in decision.keep}
        assert set(self.target.workloads) <= decision.keep, "the target is kept"
        again = RolloutState(target=self.target, active=self.told[-1], workloads=self.workloads, gateway=gateway)
        assert decide(again).active == decision.active, "nothing changes twice"

    def entry_of(self, pod: Pod) -> str | None:
        revision = self.told[pod.read]
        return revision.entry if revision else None

    def change(self, event: str, index: int, revision: RevisionState, state: WorkloadState) -> None:
        pod = self.gateway[index]
        match event:
            case "target":
                self.target = revision
            case "start":
                self.workloads = dict.fromkeys(self.workloads, UP)
            case "instances":
                self.workloads.update((name, state) for name in sorted(self.workloads)[index : index + 2])
            case "answers":
                pod.answers = not pod.answers
            case "read":
                # Who reads line by line is in between for a moment, which the draining of pods bridges.
                pod.read = len(self.told) - 1

    def check(self) -> None:
        served = [self.told[-1], *(self.told[pod.read] for pod in self.gateway)]
        missing = {name for each in served if each for name in each.workloads} - self.workloads.keys()
        assert not missing, f"{missing} are gone, and requests go there"


EVENTS = st.tuples(
    st.sampled_from(["target", "start", "instances", "answers", "read"]),
    st.integers(0, 1),
    st.sampled_from(REVISIONS),
    st.sampled_from([UP, PART, DOWN]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_nobody_is_left_without_an_instance(events: list[tuple[str, int, RevisionState, WorkloadState]]) -> None:
    """Targets change, instances come and go, gateways read late or don't answer; in the end the target is alone."""
    world = World()
    for _ in range(2):
        world.reconcile()
        world.change("start", 0, A, UP)
    for event in events:
        world.change(*event)
        world.reconcile()
        world.check()
    for _ in range(3):
        world.change("start", 0, A, UP)
        for pod in world.gateway:
            pod.read, pod.answers = len(world.told) - 1, True
        world.reconcile()
    assert world.told[-1] == world.target
    assert world.workloads.keys() == set(world.target.workloads)
