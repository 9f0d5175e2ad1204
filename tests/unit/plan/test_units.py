"""Durations of the API, and as Envoy writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.plan.units import format_duration, format_envoy_duration, parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10ms", 0.01), ("30s", 30), ("1m30s", 90), ("1h", 3600), ("1m500ms", 60.5), ("1h1m1s1ms", 3661.001)],
)
def test_durations(text, seconds):
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0s"), (5, "5s"), (60, "1m"), (90.5, "1m30s"), (3600, "1h"), (3661, "1h1m"), (7205, "2h"), (360000, "100h")],
)
def test_as_people_write_it(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (0.2, "0.2s"), (10, "10s"), (100, "100s"), (60.5, "60.5s")])
def test_envoy_s_form(seconds, text):
    assert format_envoy_duration(seconds) == text


@given(st.integers(0, 3_600_000))
def test_round_trip_to_the_millisecond(milliseconds):
    text = format_envoy_duration(parse_duration_s(f"{milliseconds}ms"))
    assert round(float(text.removesuffix("s")) * 1000) == milliseconds
