"""Who is let in by what the pilot knows of a Secret."""

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
