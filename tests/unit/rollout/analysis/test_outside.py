"""What others say of a revision, and the verdict of all together."""

from typing import Any

import pytest

from forebay.plan.analysis import Query
from forebay.rollout.analysis.outside import combine, read_result, read_value
from forebay.rollout.analysis.verdict import Finding, Outcome, Verdict

QUERY = Query(name="drops", address="", query="1", min=1.0, max=2.0)


HUGE = {"data": {"resultType": "scalar", "result": [0, 10**400]}}


def vector(*values: str) -> dict[str, Any]:
    return {"data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, each]} for each in values]}}


@pytest.mark.parametrize(
    ("answer", "outcome", "message"),
    [
        (vector("1.5"), "Passed", "drops is 1.5"),
        ({"data": {"resultType": "scalar", "result": [0, "2"]}}, "Passed", "drops is 2"),
        (vector("0.5"), "Failed", "drops is 0.5, less than 1"),
        (vector("3"), "Failed", "drops is 3, more than 2"),
        *(
            (answer, "Inconclusive", "Paused by missing metrics: drops: the query gives no single value")
            for answer in (vector(), vector("1", "2"), vector("NaN"), vector("+Inf"), {}, [], None, {"data": 1}, HUGE)
        ),
    ],
)
def test_the_value_of_a_query(answer: Any, outcome: str, message: str) -> None:
    assert read_value(QUERY, answer) == Finding(outcome=Outcome(outcome), message=message)


@pytest.mark.parametrize(
    ("answer", "outcome", "message"),
    [
        ({"result": "passed"}, "Passed", "smoke says passed"),
        ({"result": "Failed", "message": "3 of 4\n\x1b[1mfailed"}, "Failed", "smoke says failed: 3 of 4 [1mfailed"),
        ({"result": "inconclusive", "message": 7}, "Inconclusive", "smoke says inconclusive: 7"),
        ({"result": "failed", "message": "x" * 999}, "Failed", f"smoke says failed: {'x' * 200}"),
    ],
)
def test_what_a_service_says(answer: Any, outcome: str, message: str) -> None:
    assert read_result("smoke", answer) == Finding(outcome=Outcome(outcome), message=message)


@pytest.mark.parametrize("answer", [None, [], {}, {"result": "good"}, {"result": {}}])
def test_what_is_not_understood_is_nobody_s_fault(answer: Any) -> None:
    found = read_result("smoke", answer)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.message.startswith("Paused by missing metrics: smoke: it doesn't answer")


def test_the_worst_of_all_counts() -> None:
    good, unclear, bad = (
        Finding(outcome=each, message=each.value.lower())
        for each in (Outcome.PASSED, Outcome.INCONCLUSIVE, Outcome.FAILED)
    )
    verdict = Verdict(outcome=Outcome.PASSED, message="0 % failed", requests=7)
    assert combine(verdict, []) == verdict
    assert combine(verdict, [good]).message == "0 % failed; passed"
    assert combine(verdict, [good, unclear]).outcome is Outcome.INCONCLUSIVE
    found = combine(verdict, [good, bad, unclear, bad])
    assert (found.outcome, found.message, found.requests) == (Outcome.FAILED, "failed; failed", 7)
