"""What is new since the gateway was asked last."""

import pytest

from forebay.rollout.analysis.tally import (
    Reading,
    Tally,
    add_all,
    count_slower,
    find_percentile_ms,
    find_since,
)


def read(uptime_s: float, requests: int, **changes: object) -> Reading:
    return Reading(uptime_s=uptime_s, tallies={"w": Tally(requests=requests, times={10.0: requests}, **changes)})


@pytest.mark.parametrize(
    ("before", "after", "requests"),
    [
        (read(100, 40), read(130, 50), 10),
        (read(100, 40), read(130, 40), 0),
        (read(100, 40), read(5, 50), 50),  # an Envoy that began anew counts from 0
        (read(100, 40), read(5, 3), 3),
        (read(100, 40), read(130, 30), 0),  # one that forgot what nobody used
        (None, read(500, 40), 0),  # one that was there before
        (None, read(20, 40), 40),  # a pod that came meanwhile
    ],
)
def test_it_is_never_negative(before: Reading | None, after: Reading, requests: int) -> None:
    found = find_since(after, before, "w", followed_s=60)
    assert found.requests == found.answered == requests


def test_a_revision_that_is_not_counted_yet() -> None:
    assert find_since(read(130, 50), read(100, 40), "other", followed_s=60) == Tally()


def test_all_pods_together() -> None:
    one = Tally(requests=3, errors=2, timeouts=1, refusals=1, times={1.0: 2, 2.0: 1})
    assert add_all([one, one]) == Tally(requests=6, errors=4, timeouts=2, refusals=2, times={1.0: 4, 2.0: 2})
    assert add_all([]) == Tally()


@pytest.mark.parametrize(
    ("times", "percentile", "time_ms"),
    [
        ({}, 99, 0),
        ({0.0: 10}, 50, 1),
        ({40.0: 98, 90.0: 2}, 99, 91),
        ({40.0: 99, 90.0: 1}, 99, 41),
        ({1200.0: 10}, 99, 1300),
    ],
)
def test_percentiles_are_upper_ends(times: dict[float, int], percentile: float, time_ms: float) -> None:
    assert find_percentile_ms(times, percentile) == time_ms


def test_what_surely_took_longer() -> None:
    assert count_slower({10.0: 1, 20.0: 2, 30.0: 4}, 20.0) == 4
