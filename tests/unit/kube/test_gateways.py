"""The answers of several gateway pods, as one."""

from typing import Any

from forebay.kube.gateways import summarize
from forebay.kube.holdings import Owner

MD = Owner("ns", "md")


def answer(generation: int, error: str = "", **workloads: int) -> dict[str, Any]:
    return {"routes": {"ns/md": {"workloads": workloads, "generation": generation, "error": error}}}


def test_the_slowest_counts() -> None:
    state = summarize(MD, [answer(3, a=2), answer(2, a=1, b=4)])
    assert (state.pods, state.answered, state.generation) == (2, 2, 2)
    assert state.routed == {"a": 1, "b": 0}
    assert state.instances == 2
    assert state.is_known


def test_one_that_routes_to_the_revision_before_has_instances_too() -> None:
    state = summarize(MD, [answer(3, new=1), answer(2, old=2)])
    assert state.routed == {"new": 0, "old": 0}
    assert state.instances == 1
    assert summarize(MD, [answer(3, new=0), answer(2, old=2)]).instances == 0


def test_one_that_is_silent_leaves_it_unknown() -> None:
    state = summarize(MD, [answer(3, a=2), None])
    assert (state.pods, state.answered, state.is_known) == (2, 1, False)
    assert state.routed == {"a": 2}


def test_one_that_has_no_route_yet() -> None:
    state = summarize(MD, [answer(3, a=2), {"routes": {}}])
    assert state.routed == {"a": 0}
    assert state.instances == 0
    assert state.generation == 0


def test_what_one_refuses_is_told() -> None:
    assert summarize(MD, [answer(1), answer(1, error="no such Secret")]).error == "no such Secret"


def test_no_gateway() -> None:
    assert not summarize(MD, []).is_known


def test_since_when_all_of_them_hold_requests() -> None:
    def held(*since: str) -> tuple[float | None, float | None]:
        answers = [
            {"routes": {"ns/md": {"workloads": {}, "heldSince": each} if each else {"workloads": {}}}} for each in since
        ]
        found = summarize(MD, answers)
        return found.held_s, found.held_by_any_s

    at, later = "1970-01-01T00:01:00Z", "1970-01-01T00:02:00Z"
    assert held(at, at) == (60, 60)
    assert held(at, later) == (None, 60)
    assert held(at, "") == (None, 60)
    assert held("", "") == (None, None)
    assert held() == (None, None)


def test_who_is_asked_by_name_alone_serves_nobody_else() -> None:
    route = {"workloads": {"w1": 2, "w2": 3}, "weights": {"w1": 100}}
    found = summarize(MD, [{"routes": {"ns/md": route}}])
    assert found.instances == 2
    assert found.routed == {"w1": 2, "w2": 3}
    assert found.weights_pct == {"w1": 100}
