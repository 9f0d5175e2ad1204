"""The derived depth: what is let in can be answered in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.plan.depth import MAX_DEPTH, UNMEASURED_DEPTH, derive_depth

SLOTS = st.integers(1, 4096)
SERVICE_S = st.floats(1e-6, 3600, allow_nan=False)
DEADLINE_S = st.floats(0.01, 3600, allow_nan=False)


@given(SLOTS, SERVICE_S, DEADLINE_S)
def test_what_is_let_in_is_answered_in_time(slots, service_s, deadline_s):
    depth = derive_depth(slots=slots, service_s=service_s, deadline_s=deadline_s)
    assert 1 <= depth <= MAX_DEPTH
    if depth > 1:  # one place is always there, for a connection in the making
        assert depth * service_s / slots + service_s <= deadline_s


@given(SLOTS, SLOTS, SERVICE_S, DEADLINE_S)
def test_more_slots_never_make_it_shallower(fewer, more, service_s, deadline_s):
    fewer, more = sorted((fewer, more))
    shallow = derive_depth(slots=fewer, service_s=service_s, deadline_s=deadline_s)
    assert shallow <= derive_depth(slots=more, service_s=service_s, deadline_s=deadline_s)


@given(SLOTS, SERVICE_S, SERVICE_S, DEADLINE_S)
def test_a_slower_model_never_makes_it_deeper(slots, fast_s, slow_s, deadline_s):
    fast_s, slow_s = sorted((fast_s, slow_s))
    deep = derive_depth(slots=slots, service_s=fast_s, deadline_s=deadline_s)
    assert deep >= derive_depth(slots=slots, service_s=slow_s, deadline_s=deadline_s)


@given(SLOTS, SERVICE_S, DEADLINE_S, DEADLINE_S)
def test_a_later_deadline_never_makes_it_shallower(slots, service_s, soon_s, late_s):
    soon_s, late_s = sorted((soon_s, late_s))
    shallow = derive_depth(slots=slots, service_s=service_s, deadline_s=soon_s)
    assert shallow <= derive_depth(slots=slots, service_s=service_s, deadline_s=late_s)


@pytest.mark.parametrize(
    ("slots", "service_s", "deadline_s", "depth"),
    [
        (2, 0.01, 0.06, 8),  # FACTS.md: 2 slots of 10 ms
        (1, 1, 30, 23),
        (8, 0.1, 30, 1913),
        (1, 40, 30, 1),  # never in time: one may still try
        (4096, 1e-6, 3600, MAX_DEPTH),
        (8, 0, 30, UNMEASURED_DEPTH),
    ],
)
def test_examples(slots, service_s, deadline_s, depth):
    assert derive_depth(slots=slots, service_s=service_s, deadline_s=deadline_s) == depth
