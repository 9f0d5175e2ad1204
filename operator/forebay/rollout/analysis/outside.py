"""What others than the gateway say of a revision: Prometheus, and services that are asked."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from forebay.plan.analysis import Query
from forebay.rollout.analysis.verdict import Finding, Outcome, Verdict

_LONGEST = 200
_OUTCOMES = {each.value.lower(): each for each in Outcome}
_ORDER = (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)


def read_value(query: Query, answer: Any) -> Finding:
    """What a query's answer says, as Prometheus' HTTP API gives it."""
    value = _find_value(answer)
    if value is None:
        return build_missing(query.name, "the query gives no single value")
    bounds = []
    if query.min is not None and value < query.min:
        bounds.append(f"less than {query.min:g}")
    if query.max is not None and value > query.max:
        bounds.append(f"more than {query.max:g}")
    outcome = Outcome.FAILED if bounds else Outcome.PASSED
    why = f", {bounds[0]}" if bounds else ""
    return Finding(outcome=outcome, message=f"{query.name} is {value:.6g}{why}")


def _find_value(answer: Any) -> float | None:
    try:
        data = answer["data"]
        pair = data["result"]
        if data["resultType"] == "vector":
            (only,) = pair
            pair = only["value"]
        value = float(pair[1])
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def read_result(name: str, answer: Any) -> Finding:
    """What a service says. What isn't understood is no fault of the revision."""
    told = answer if isinstance(answer, dict) else {}
    outcome = _OUTCOMES.get(str(told.get("result", "")).lower())
    if outcome is None:
        return build_missing(name, 'it doesn\'t answer {"result": "passed" | "failed" | "inconclusive"}')
    said = " ".join(str(told.get("message", "")).split())
    said = "".join(each for each in said if each.isprintable())[:_LONGEST]
    return Finding(outcome=outcome, message=f"{name} says {outcome.value.lower()}" + (f": {said}" if said else ""))


def build_missing(name: str, why: str) -> Finding:
    """That a check told nothing."""
    return Finding(outcome=Outcome.INCONCLUSIVE, message=f"Paused by missing metrics: {name}: {why}")


def combine(verdict: Verdict, findings: Sequence[Finding]) -> Verdict:
    """The verdict of all together: the worst of them, by those who say so."""
    own = Finding(outcome=verdict.outcome, message=verdict.message)
    worst = next(each for each in _ORDER if each in {own.outcome, *(found.outcome for found in findings)})
    said = [each.message for each in (own, *findings) if each.outcome is worst]
    return replace(verdict, outcome=worst, message="; ".join(said))
