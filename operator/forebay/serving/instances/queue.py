"""The queue in front of the model, as its Envoy's admin on loopback tells it, and the numbers that it is given there.

What is set there stands over the numbers that lie in the ConfigMap, until that Envoy starts anew.
"""

import json
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from forebay.serving.drain import ANSWER_S, STATS, opener
from forebay.serving.instances.decision import Limits

_SLOTS = "circuit_breakers.queue.default.max_connections"
_DEPTH = "circuit_breakers.queue.default.max_pending_requests"
_INSTANCES = "forebay.instances"


class Unreached(Exception):  # noqa: N818  (no fault: asked again in a second)
    """The queue or Triton doesn't answer now."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the queue is to be with the fewest instances, what it is now, and how the instances are to be scaled."""

    in_flight: int
    queued: int
    base_depth: int
    slots: int
    depth: int
    depth_follows: bool
    limits: Limits

    def choose_numbers(self, count: int, *, quiet: bool = False) -> tuple[int, int]:
        """Slots and depth for so many instances. `quiet` are slots for no more than they work on at the same time; who
        finds none may wait, so that nobody is refused for it.
        """
        slots = self.limits.concurrency * count
        depth = self.base_depth
        if self.depth_follows:
            depth = self.base_depth * count // self.limits.least
        fewer = min(slots, count) if quiet else slots
        return fewer, depth + slots - fewer


class Queue:
    """The Envoy whose admin listens at `admin`, HOST:PORT."""

    def __init__(self, admin: str) -> None:
        self._url = f"http://{admin}"

    def read(self) -> Reading:
        """All of it. Raises Unreached."""
        query = urllib.parse.urlencode({"format": "json", "filter": STATS})
        stats = {each["name"]: int(each["value"]) for each in self._ask(f"/stats?{query}").get("stats", ())}
        entries = self._ask("/runtime").get("entries", {})
        try:
            return _read(stats, entries)
        except (KeyError, ValueError) as error:
            raise Unreached(f"the queue's Envoy doesn't tell {error} yet") from error

    def allow(self, slots: int, depth: int) -> None:
        """Set slots and depth, at once. Raises Unreached."""
        query = urllib.parse.urlencode({_SLOTS: slots, _DEPTH: depth})
        self._send(f"/runtime_modify?{query}", method="POST")

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            found = json.loads(self._send(path))
        except ValueError as error:
            raise Unreached(f"the queue's Envoy answers nonsense: {error}") from error
        return found if isinstance(found, dict) else {}

    def _send(self, path: str, *, method: str = "GET") -> bytes:
        request = urllib.request.Request(self._url + path, method=method)  # noqa: S310  (http, on loopback)
        try:
            with opener.open(request, timeout=ANSWER_S) as answer:
                return bytes(answer.read())
        except (OSError, HTTPException) as error:
            raise Unreached(f"the queue's Envoy doesn't answer: {error}") from error


def _read(stats: dict[str, int], entries: dict[str, Any]) -> Reading:
    def number(key: str) -> int:
        return int(entries[key]["final_value"])

    def configured(key: str) -> int:
        return int(entries[key]["layer_values"][0])

    least = number(f"{_INSTANCES}.min")
    return Reading(
        in_flight=stats["cluster.queue.upstream_rq_active"],
        queued=stats["cluster.queue.upstream_rq_pending_active"],
        base_depth=configured(_DEPTH),
        slots=number(_SLOTS),
        depth=number(_DEPTH),
        depth_follows=bool(number(f"{_INSTANCES}.depth_follows")),
        limits=Limits(
            least=least,
            most=number(f"{_INSTANCES}.max"),
            concurrency=max(1, configured(_SLOTS) // least),
            cooldown_s=number(f"{_INSTANCES}.cooldown_ms") / 1000,
        ),
    )
