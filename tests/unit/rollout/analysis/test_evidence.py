"""The bets are fair: on what isn't so nobody gains, however often it is looked at."""

import math
import random

import pytest

from forebay.rollout.analysis.evidence import Comparison, Part, measure_excess, measure_shortfall


def hypergeometric(bad: int, new: int, old: int) -> list[tuple[float, int]]:
    """The chance of so many of the bad answers being the new one's."""
    ways = math.comb(new + old, bad)
    return [
        (math.comb(new, of) * math.comb(old, bad - of) / ways, of) for of in range(max(0, bad - old), min(bad, new) + 1)
    ]


@pytest.mark.parametrize(("bad", "new", "old"), [(1, 5, 95), (3, 10, 10), (7, 20, 180), (40, 50, 30), (2, 1, 1)])
def test_no_comparison_gains_on_average_where_both_are_alike(bad: int, new: int, old: int) -> None:
    gains = [
        (chance, math.exp(Comparison().after(Part(of, new), Part(bad - of, old)).log_evidence))
        for chance, of in hypergeometric(bad, new, old)
    ]
    assert sum(chance for chance, _ in gains) == pytest.approx(1)
    assert sum(chance * gain for chance, gain in gains) <= 1 + 1e-9


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.5, 0.98])
@pytest.mark.parametrize("number", [1, 10, 100])
@pytest.mark.parametrize("measure", [measure_excess, measure_shortfall])
def test_no_bet_against_a_limit_gains_on_average(limit: float, number: int, measure: object) -> None:
    chances = [math.comb(number, bad) * limit**bad * (1 - limit) ** (number - bad) for bad in range(number + 1)]
    gain = sum(chance * math.exp(measure(Part(bad, number), limit)) for bad, chance in enumerate(chances))
    assert gain == pytest.approx(1)


def test_it_seldom_reaches_far_however_often_it_is_looked_at() -> None:
    """Ville's inequality: to 1/a in a of the cases at most."""
    dice, reached = random.Random(7), 0
    for _ in range(400):
        comparison = Comparison()
        for _ in range(50):
            new, old = (Part(sum(dice.random() < 0.05 for _ in range(each)), each) for each in (10, 40))
            comparison = comparison.after(new, old)
            if comparison.log_evidence >= math.log(20):
                reached += 1
                break
    assert reached <= 0.05 * 400


def test_what_is_worse_shows() -> None:
    comparison = Comparison()
    for _ in range(10):
        comparison = comparison.after(Part(5, 100), Part(1, 900))
    assert comparison.log_evidence > math.log(1e6)
    assert measure_excess(Part(50, 1000), 0.01) > math.log(1e6)
    assert measure_shortfall(Part(0, 1000), 0.02) > math.log(1e3)


def test_the_ratio_that_is_allowed() -> None:
    comparison = Comparison(ratio=5.0)
    for _ in range(10):
        comparison = comparison.after(Part(5, 100), Part(9, 900))
    assert comparison.log_evidence < 0
    for _ in range(10):
        comparison = comparison.after(Part(40, 100), Part(9, 900))
    assert comparison.log_evidence > math.log(1e6)


def test_limits_at_the_ends() -> None:
    assert measure_excess(Part(0, 10), 0.0) == 0
    assert measure_excess(Part(1, 10), 0.0) == math.inf
    assert measure_excess(Part(10, 10), 1.0) == 0
    assert measure_shortfall(Part(10, 10), 1.2) == math.inf
    assert measure_shortfall(Part(0, 0), 0.02) == pytest.approx(0)
    assert Comparison().after(Part(3, 3), Part(0, 0)) == Comparison()
