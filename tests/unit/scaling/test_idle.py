"""When something falls asleep, and what it takes to have it awake: pure."""

from hypothesis import given
from hypothesis import strategies as st

from forebay.scaling.idle import Size, Vigil, choose_period_s, is_asleep, is_idle, raise_all

VIGIL = Vigil(since_s=1000.0, idle_s=60.0)
sizes = st.builds(Size, wanted=st.integers(0, 9), least=st.integers(1, 5), fixed=st.booleans())


def test_it_is_idle_when_no_gateway_has_had_a_request_for_long() -> None:
    assert is_idle([60.0, 3600.0], VIGIL, now_s=1060)
    assert not is_idle([59.9, 3600.0], VIGIL, now_s=1060)


def test_not_before_its_time_since_it_came_up() -> None:
    assert not is_idle([3600.0], VIGIL, now_s=1059)
    assert not is_idle([3600.0], VIGIL, now_s=900), "of a clock that was set back"


def test_a_gateway_that_does_not_tell_may_have_a_request_and_no_gateway_tells_nothing() -> None:
    assert not is_idle([3600.0, None], VIGIL, now_s=2000)
    assert not is_idle([], VIGIL, now_s=2000)


def test_asleep_is_what_has_no_instance_at_all() -> None:
    one, none = Size(wanted=1, least=1), Size(wanted=0, least=1)
    assert is_asleep([none, none])
    assert not is_asleep([none, one])
    assert not is_asleep([]), "what isn't there doesn't sleep"


def test_what_is_awake_is_awake_as_a_whole() -> None:
    found = {
        "none": Size(wanted=0, least=2),
        "fixed": Size(wanted=1, least=3, fixed=True),
        "one": Size(wanted=1, least=2),
    }
    assert raise_all(found, wakes=False) == {"none": 2, "fixed": 3}, "another's number is the autoscaler's to raise"
    assert raise_all(found, wakes=True) == {"none": 2, "fixed": 3, "one": 2}
    assert raise_all({"many": Size(wanted=5, least=2)}, wakes=True) == {}
    assert raise_all({"many": Size(wanted=5, least=3, fixed=True)}, wakes=False) == {"many": 3}


@given(st.dictionaries(st.text(max_size=3), sizes, max_size=4), st.booleans())
def test_once_is_enough(found: dict[str, Size], wakes: bool) -> None:
    after = {
        name: Size(wanted=raise_all(found, wakes=wakes).get(name, size.wanted), least=size.least, fixed=size.fixed)
        for name, size in found.items()
    }
    assert raise_all(after, wakes=wakes) == {}
    assert not is_asleep(after.values())


def test_the_gateway_is_asked_as_often_as_the_most_restless_needs() -> None:
    assert choose_period_s([5.0, 300.0]) == 1.0
    assert choose_period_s([30.0]) == 6.0
    assert choose_period_s([86400.0]) == 15.0
    assert choose_period_s([]) == 15.0
