"""Pairs the answers to requests with those to their copies, and counts what comes of it.

What waits for its other half is bounded: in number, in bytes (the oldest bodies go first) and in time.
"""

import base64
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import floor, log10
from typing import Any

from forebay.gateway.agreement import Body, Difference, Tolerance, find_difference
from forebay.plan.envoy_capture import MAX_ANSWER_BYTES
from forebay.plan.envoy_replies import NO_INSTANCE, QUEUE_FULL, TOO_LARGE
from forebay.plan.envoy_shadow import OUTCOMES, TOO_SLOW, find_copied
from forebay.plan.names import split_route_name

Json = dict[str, Any]
Key = tuple[str, str]
_MOST_WAITING = 20_000
_MOST_BYTES = 16 * 1024 * 1024
_MOST_KEYS = 1000
_EXAMPLES = 5
# For what comes late, and in parts.
_GRACE_S = 5.0
_ERROR = 500
# The copy was not answered by a model; that says nothing of it.
_NOT_ASKED = {QUEUE_FULL.reason, NO_INSTANCE.reason, TOO_LARGE.reason, TOO_SLOW.reason, "not-ready"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer as Envoy told of it. `body` is in base64; None where it isn't known, or was too long. `reason` is a
    refusal's. What has no code was not answered: whoever asked has left.
    """

    id: str
    # What the client's request is called in logs.
    request: str = ""
    route: str
    is_copy: bool
    code: int
    took_ms: float = 0.0
    cluster: str = ""
    reason: str = ""
    body: str | None = None
    is_cut: bool = False
    # Compressed: then it isn't read.
    is_encoded: bool = False
    content_type: str = ""
    header_length: int | None = None

    def read(self) -> Body:
        """The body, as it is compared."""
        content = base64.b64decode(self.body or "")
        return Body(content=content, content_type=self.content_type, header_length=self.header_length)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What copies of a deployment's requests are made for: whom, how long they may take, and what counts as equal."""

    cluster: str
    timeout_s: float
    tolerance: Tolerance


@dataclass(kw_only=True)
class Count:
    """What became of the copies for one workload. Times in ms, to two digits, of the requests and of their copies."""

    outcomes: Counter[str] = field(default_factory=Counter)
    told_ms: Counter[float] = field(default_factory=Counter)
    copied_ms: Counter[float] = field(default_factory=Counter)
    examples: deque[Json] = field(default_factory=lambda: deque(maxlen=_EXAMPLES))

    def tell(self, *, with_examples: bool) -> Json:
        """As JSON."""
        times = {"toldMs": self.told_ms, "copiedMs": self.copied_ms}
        return {
            **{name: self.outcomes[name] for name in OUTCOMES},
            **{name: {f"{each:g}": count for each, count in found.items()} for name, found in times.items()},
            **({"examples": list(self.examples)} if with_examples else {}),
        }


class Comparisons:
    """All that this gateway has compared since its pilot began."""

    def __init__(
        self, find_watched: Callable[[str], Watched | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find_watched = find_watched
        self._clock = clock
        self._begun_s = clock()
        # The halves that came first, with when they are given up.
        self._waiting: OrderedDict[str, tuple[float, Answer]] = OrderedDict()
        self._bodies: deque[str] = deque()
        self._bytes = 0
        self.counts: OrderedDict[Key, Count] = OrderedDict()

    @property
    def uptime_s(self) -> float:
        """For how long it counts."""
        return self._clock() - self._begun_s

    def take(self, answer: Answer) -> None:
        """One of the two answers has come."""
        self.expire()
        watched = self._find_watched(answer.route)
        if watched is None or not answer.id:
            return
        other = self._pop(answer.id)
        if other is None or other.is_copy == answer.is_copy:
            self._keep(answer, watched)
            return
        told, copy = (other, answer) if answer.is_copy else (answer, other)
        self._compare(told, copy, watched)

    def _keep(self, answer: Answer, watched: Watched) -> None:
        self._waiting[answer.id] = (self._clock() + watched.timeout_s + _GRACE_S, answer)
        if answer.body:
            self._bodies.append(answer.id)
            self._bytes += len(answer.body)
        while self._bytes > _MOST_BYTES:
            self._strip(self._bodies.popleft())
        while len(self._waiting) > _MOST_WAITING:
            self._give_up()
        # Those that have found their other half.
        while len(self._bodies) > 2 * _MOST_WAITING:
            self._bodies.popleft()

    def _strip(self, name: str) -> None:
        if name in self._waiting:
            due_s, answer = self._waiting[name]
            self._bytes -= len(answer.body or "")
            self._waiting[name] = (due_s, replace(answer, body=None))

    def _pop(self, name: str) -> Answer | None:
        _, answer = self._waiting.pop(name, (0.0, None))
        if answer is not None:
            self._bytes -= len(answer.body or "")
        return answer

    def expire(self) -> None:
        """Give up those whose time is over."""
        now_s = self._clock()
        while self._waiting and next(iter(self._waiting.values()))[0] <= now_s:
            self._give_up()

    def _give_up(self) -> None:
        answer = self._pop(next(iter(self._waiting)))
        watched = self._find_watched(answer.route) if answer else None
        # A copy whose request nobody told of says nothing.
        if answer and watched and not answer.is_copy and answer.code:
            self._find_count(answer.route, watched.cluster).outcomes["lost"] += 1

    def _compare(self, told: Answer, copy: Answer, watched: Watched) -> None:
        count = self._find_count(told.route, find_copied(copy.cluster) or watched.cluster)
        outcome, difference = _judge(told, copy, watched.tolerance)
        count.outcomes[outcome] += 1
        if outcome in ("agreed", "differed"):
            count.told_ms[_round(told.took_ms)] += 1
            count.copied_ms[_round(copy.took_ms)] += 1
        if difference:
            each = {
                "request": told.request,
                "where": difference.where,
                "told": difference.told,
                "shadow": difference.other,
            }
            count.examples.append(each)

    def _find_count(self, route: str, cluster: str) -> Count:
        key = (route, split_route_name(cluster)[1])
        count = self.counts.setdefault(key, Count())
        self.counts.move_to_end(key)
        while len(self.counts) > _MOST_KEYS:
            self.counts.popitem(last=False)
        return count

    def tell(self, routes: Sequence[str], *, with_examples: bool = False) -> dict[str, Json]:
        """The counts of these deployments, by the workload that got the copies."""
        self.expire()
        found: dict[str, Json] = {route: {} for route in routes}
        for (route, workload), count in self.counts.items():
            if route in found:
                found[route][workload] = count.tell(with_examples=with_examples)
        return found


def _judge(told: Answer, copy: Answer, tolerance: Tolerance) -> tuple[str, Difference | None]:
    """The outcome, and where they differ."""
    if not told.code or told.code >= _ERROR or told.reason:
        return "skipped", None
    if not copy.code or copy.reason in _NOT_ASKED:
        return "lost", None
    return _judge_lengths(told, copy) if told.is_cut or copy.is_cut else _judge_answers(told, copy, tolerance)


def _judge_answers(told: Answer, copy: Answer, tolerance: Tolerance) -> tuple[str, Difference | None]:
    if copy.code != told.code:
        outcome = "failed" if copy.code >= _ERROR else "differed"
        return outcome, Difference(where="the status", told=str(told.code), other=_describe(copy))
    if told.body is None or copy.body is None:
        return "skipped", None
    if told.is_encoded or copy.is_encoded:
        return ("agreed" if told.body == copy.body else "skipped"), None
    difference = find_difference(told.read(), copy.read(), tolerance)
    return ("differed", difference) if difference else ("agreed", None)


def _judge_lengths(told: Answer, copy: Answer) -> tuple[str, Difference | None]:
    """One of them was too long to be told. The other may be so by a few digits only."""
    lengths = ["more" if each.is_cut else str(len(each.body or "") * 3 // 4) for each in (told, copy)]
    known = [each for each in (told, copy) if not each.is_cut and each.body is not None]
    if known and len(known[0].body or "") < MAX_ANSWER_BYTES // 2:
        return "differed", Difference(where="the length", told=lengths[0], other=lengths[1])
    return "skipped", None


def _describe(copy: Answer) -> str:
    return f"{copy.code} ({copy.reason})" if copy.reason else str(copy.code)


def _round(time_ms: float) -> float:
    """To two digits; less than a millisecond is 0."""
    if time_ms < 1:
        return 0.0
    return float(round(time_ms, 1 - floor(log10(time_ms))))
