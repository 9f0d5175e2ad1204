"""Who is let in by what the pilot knows of a Secret, and when drills begin and end."""

import pytest

from forebay.gateway.keys import ApiKeys, describe_unread
from forebay.gateway.objects import read_deployment
from forebay.gateway.state import State
from forebay.plan.envoy_access import Access

KEYS = {"anna": "old"}


def build_access(state: State, *, secret: str = "") -> Access:
    """What the entrance asks of its callers, once the deployment names this Secret or none."""
    access = {"access": {"apiKeys": {"secretName": secret}}} if secret else {}
    state.put_deployment(read_deployment({"metadata": {"namespace": "ns", "name": "a"}, "spec": access}))
    state.build()
    entrance = state.find_entrance("ns/a")
    assert entrance
    return entrance.entrance.access


@pytest.fixture
def state() -> State:
    """With a deployment whose Secret was read."""
    made = State(data_port=1)
    assert build_access(made, secret="keys").shut
    made.put_keys(("ns", "keys"), ApiKeys(keys=KEYS))
    assert build_access(made, secret="keys").keys == KEYS
    return made


def test_who_has_a_key_keeps_it_until_the_next_secret_is_read(state: State) -> None:
    assert build_access(state, secret="keys-2") == Access(keys=KEYS)
    state.put_keys(("ns", "keys-2"), describe_unread("ns", "keys-2", status=500))
    assert build_access(state, secret="keys-2") == Access(keys=KEYS)
    state.put_keys(("ns", "keys-2"), ApiKeys(keys={"anna": "new"}))
    assert build_access(state, secret="keys-2") == Access(keys={"anna": "new"})


@pytest.mark.parametrize("status", [403, 404])
def test_one_that_cant_be_had_lets_nobody_in(state: State, status: int) -> None:
    state.put_keys(("ns", "keys-2"), describe_unread("ns", "keys-2", status=status))
    assert build_access(state, secret="keys-2") == Access(shut=True)


def test_what_was_open_is_shut_until_the_secret_is_read(state: State) -> None:
    assert build_access(state) == Access()
    assert build_access(state, secret="keys-2") == Access(shut=True)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Time goes by with each look at it."""
        self.now_s += 0.1
        return self.now_s


@pytest.mark.parametrize("early_s", [0.05, 0.15, 0.25, 0.35])
def test_a_drill_that_begins_or_ends_while_the_routes_are_made_is_not_missed(early_s: float) -> None:
    clock = Clock()
    state = State(data_port=1, clock=clock)
    drill = {"fault": "error", "revision": "aaaa1111", "since": "1970-01-01T00:01:40Z", "until": "1970-01-01T00:03:20Z"}
    raw = {
        "metadata": {"namespace": "ns", "name": "a"}, "spec": {"drill": drill},
        "status": {"traffic": [{"workload": "a-0", "revision": "aaaa1111", "weightPct": 100}]},
    }  # fmt: skip
    for edge_s, is_on in ((100.0, True), (200.0, False)):
        clock.now_s = edge_s - early_s
        state.put_deployment(read_deployment(raw))
        state.build()
        while (due_s := state.measure_due_s()) is not None and due_s < 1:
            clock.now_s += due_s
            state.build()
        entrance = state.find_entrance("ns/a")
        assert entrance
        assert (entrance.entrance.fault is not None) == is_on
    assert state.measure_due_s() is None
