"""Who is let go when: without a clock or a gateway."""

import re
from dataclasses import replace

from forebay.gateway.holder import find_pause_s
from forebay.gateway.holds import Hold, Pass, Ticket, Verdict, build_away, build_full, build_late
from forebay.gateway.objects import ColdStart
from forebay.gateway.pace import Capacity, Counts, Pace, share_capacity
from forebay.plan.envoy_fallback import Fallback, build_passing_action

TICK_S = 0.01
COLD = ColdStart(timeout_s=60, max_held=10, slots=1, depth=1)


def take(hold: Hold, *times_s: float) -> tuple[list[Ticket], list[tuple[int, Verdict]]]:
    """Tickets of requests that came at these times, and where their answers are written."""
    told: list[tuple[int, Verdict]] = []

    def build(number: int, begun_s: float) -> Ticket:
        return Ticket(begun_s, lambda verdict: told.append((number, verdict)))

    tickets = [build(number, begun_s) for number, begun_s in enumerate(times_s)]
    for ticket in tickets:
        hold.add(ticket)
    return tickets, told


def test_first_come_first_served_also_when_they_are_told_of_in_another_order():
    hold = Hold(COLD)
    _, told = take(hold, 3.0, 1.0, 2.0, 2.0)
    for ticket in hold.pop_all():
        ticket.settle(Pass("c"))
    assert told == [(number, Pass("c")) for number in (1, 2, 3, 0)]
    assert len(hold) == 0
    assert hold.pop() is None


def test_who_leaves_frees_its_place_and_is_told_nothing():
    hold = Hold(COLD)
    tickets, _ = take(hold, *range(5))
    for number in (0, 3):
        hold.drop(tickets[number])
        hold.drop(tickets[number])
    assert len(hold) == 3
    assert list(hold.pop_all()) == [tickets[1], tickets[2], tickets[4]]


def test_those_that_left_are_not_kept_behind_one_that_stays():
    hold = Hold(COLD)
    take(hold, 0.0)
    for _ in range(10):
        tickets, _ = take(hold, *range(1, 1001))
        for ticket in tickets:
            hold.drop(ticket)
    assert len(hold) == 1
    assert len(hold._heap) < 200


def test_only_who_waited_for_too_long_is_late():
    hold = Hold(COLD)
    tickets, _ = take(hold, 1.0, 2.0, 3.0)
    hold.drop(tickets[0])
    assert list(hold.pop_before(3.0)) == [tickets[1]]
    assert len(hold) == 1


def test_refusals_say_what_to_look_at():
    assert "10 requests (coldStart.maxHeld) wait" in build_full("digits", COLD).message
    late = build_late("default", "digits", COLD)
    assert "within 60 s (coldStart.timeout)" in late.message
    assert "kubectl describe md digits -n default" in late.message
    assert (late.status, late.grpc_status, late.retry_after_s) == (503, 14, 5)
    recreation = replace(COLD, is_recreation=True)
    assert "10 requests (recreate.maxHeld) wait for it" in build_full("digits", recreation).message
    assert "(recreate.hold)" in build_late("default", "digits", recreation).message


def test_a_fallback_is_asked_for_each_of_them():
    fallback = Fallback(causes=frozenset({"Down", "Refused"}))
    policy = build_passing_action("ns/a", fallback, idle_s=1.0)["retry_policy"]
    patterns = [each["string_match"]["safe_regex"]["regex"] for each in policy["retriable_headers"]]
    for cold_start in (COLD, replace(COLD, is_recreation=True)):
        for refusal in (build_full("a", cold_start), build_late("ns", "a", cold_start), build_away()):
            assert any(re.fullmatch(each, refusal.reason) for each in patterns), refusal.reason


class Instance:
    """Works on so many requests at once, each for so long, on a virtual clock. Envoy tells it of a request late."""

    def __init__(self, slots: int, depth: int, service_s: float, *, late_s: float = 0.004) -> None:
        self.slots, self.depth, self.service_s, self.late_s = slots, depth, service_s, late_s
        self.coming: list[float] = []
        self.waiting = 0
        self.busy: list[float] = []
        self.total = self.answered = self.refused = 0

    def send(self, now_s: float, requests: int) -> None:
        self.coming += [now_s + self.late_s] * requests

    def run(self, now_s: float) -> Counts:
        self.answered += sum(end <= now_s for end in self.busy)
        self.busy = [end for end in self.busy if end > now_s]
        arrived = sum(each <= now_s for each in self.coming)
        self.coming = [each for each in self.coming if each > now_s]
        self.total += arrived
        self.waiting += arrived
        while self.waiting and len(self.busy) < self.slots:
            self.waiting -= 1
            self.busy.append(now_s + self.service_s)
        self.refused += max(0, self.waiting - self.depth)
        return Counts(total=self.total, active=len(self.busy) + self.waiting)


def release(instance: Instance, requests: int, *, limit_s: float, ticks: int = 1) -> float:
    """How long it takes until all are answered."""
    pace = Pace()
    capacity = share_capacity(slots=instance.slots, depth=instance.depth, instances=1, gateways=1)
    step_s, now_s, left = TICK_S / 10, 0.0, requests
    steps = 0
    while instance.answered < requests:
        counts = instance.run(now_s)
        if steps % (10 * ticks) == 0:
            going = min(left, pace.look(now_s, counts, capacity))
            if going:
                pace.let_go(now_s, going)
                instance.send(now_s, going)
                left -= going
        steps += 1
        now_s = steps * step_s
        assert now_s < limit_s, f"{instance.answered} answered"
    return now_s


def test_a_quick_instance_gets_all_soon():
    instance = Instance(8, 64, 0.001)
    assert release(instance, 1000, limit_s=10) < 0.5
    assert instance.refused == 0


def test_it_does_so_where_looks_are_rare():
    instance = Instance(8, 64, 0.001)
    assert release(instance, 1000, limit_s=10, ticks=round(0.15 / TICK_S)) < 3
    assert instance.refused == 0


def test_looks_leave_most_of_the_time_to_others():
    assert [find_pause_s(took_s, went=True) for took_s in (0.0001, 0.002, 0.2)] == [0.003, 0.008, 0.05]
    assert [find_pause_s(took_s, went=False) for took_s in (0.0001, 0.004)] == [0.01, 0.016]


def test_a_slow_instance_is_kept_busy_and_refuses_none():
    instance = Instance(2, 1, 0.5)
    ideal_s = 40 / 2 * 0.5
    assert release(instance, 40, limit_s=100) < ideal_s * 1.1
    assert instance.refused == 0


def test_one_that_was_quick_at_first_still_refuses_none():
    instance = Instance(4, 20, 0.001)
    release(instance, 200, limit_s=10)
    instance.service_s = 0.3
    instance.answered = 0
    release(instance, 60, limit_s=60)
    assert instance.refused == 0


def test_gateways_share_the_instances():
    assert share_capacity(slots=8, depth=64, instances=2, gateways=1) == Capacity(floor=16, ceiling=144)
    assert share_capacity(slots=8, depth=64, instances=1, gateways=3) == Capacity(floor=3, ceiling=24)
    assert share_capacity(slots=1, depth=1, instances=1, gateways=5) == Capacity(floor=1, ceiling=1)


def test_those_that_envoy_has_not_begun_to_send_count_until_they_must_have_left():
    pace, capacity = Pace(), Capacity(floor=4, ceiling=4)
    assert pace.look(0.0, Counts(total=100, active=1), capacity) == 3
    pace.let_go(0.0, 3)
    assert pace.look(0.01, Counts(total=101, active=2), capacity) == 0, "two are on their way"
    assert pace.look(0.02, Counts(total=103, active=1), capacity) == 3
    pace.let_go(0.02, 3)
    assert pace.look(0.5, Counts(total=103, active=0), capacity) == 1
    assert pace.look(1.1, Counts(total=103, active=0), capacity) == 4, "their clients left"
