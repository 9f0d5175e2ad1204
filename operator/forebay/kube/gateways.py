"""What the gateway's pods route, asked of the pilot in each."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import aiohttp

from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.connection import bracket
from forebay.kube.holdings import Owner
from forebay.kube.resources import GATEWAY_SELECTOR, POD
from forebay.rollout.analysis.tally import Reading, Tally, name_compared
from forebay.rollout.state import GatewayState
from forebay.status.pods import find_condition, is_live

Json = dict[str, Any]
Readings = Mapping[Owner, Reading]

_log = logging.getLogger(__name__)
_PORT = 9090
_TIMEOUT = aiohttp.ClientTimeout(total=2)
_EAGER_S = 0.25
_PATIENT_S = 2.0
_IDLE_S = 10.0


class Gateways:
    """The routes of all gateway pods: asked for often while somebody waits for a change, else now and then."""

    def __init__(self, client: Client, *, namespace: str, on_change: Callable[[Owner], None]) -> None:
        self._client = client
        self._path = POD.path(namespace=namespace)
        self._on_change = on_change
        self._answers: list[Json | None] = []
        self._addresses: list[str] = []
        self._asked_at = 0.0
        self._states: dict[Owner, GatewayState] = {}
        # Who waits, and from when on an answer counts.
        self._waiting: dict[Owner, float] = {}
        self._wake = asyncio.Event()
        # Set when they were asked for the first time.
        self.asked = asyncio.Event()

    def state_of(self, owner: Owner) -> GatewayState:
        """What the gateway does for a ModelDeployment; it is pending while all answers are from before `expect`."""
        pending = not self._asked_at or self._asked_at < self._waiting.get(owner, 0.0)
        return replace(summarize(owner, self._answers), pending=pending)

    def expect(self, owner: Owner) -> None:
        """A change is under way: only what is asked from now on counts, and it is asked soon."""
        self._waiting[owner] = time.monotonic()
        self._wake.set()

    def settle(self, owner: Owner) -> None:
        """What was waited for has come, or nobody waits any more."""
        self._waiting.pop(owner, None)

    async def count_load(self, session: aiohttp.ClientSession) -> Counter[Owner]:
        """Requests in flight by ModelDeployment, of all gateway pods that answer."""
        load: Counter[Owner] = Counter()
        for answer in await asyncio.gather(*(_fetch(session, each, "load") for each in self._addresses)):
            for name, requests in (answer or {"load": {}})["load"].items():
                load[Owner(*name.split("/", 1))] += int(requests)
        return load

    async def ask_idle(self) -> list[Mapping[Owner, float] | None]:
        """Of each pod of the gateway there is now, for how many seconds each ModelDeployment that may sleep has had no
        request there; None of one that doesn't tell. None at all where the pods aren't known.
        """
        try:
            addresses = await self._find_addresses(_may_be_asked)
        except (ApiError, *UNANSWERED) as error:
            _log.warning("the gateway's pods are not known: %s", error)
            return []
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            answers = await asyncio.gather(*(_fetch(session, each, "idle") for each in addresses))
        return [read_idle(each) for each in answers]

    async def ask_counts(self, owners: Sequence[Owner], *, copied: bool = False) -> dict[str, Readings | None]:
        """By the address of each pod of the gateway, what it has counted of these ModelDeployments' requests, or of
        their copies; None of one that doesn't tell. None at all where the pods aren't known.
        """
        try:
            addresses = await self._find_addresses(_is_serving)
        except (ApiError, *UNANSWERED) as error:
            _log.warning("the gateway's pods are not known: %s", error)
            return {}
        query, what = [("deployment", "/".join(each)) for each in owners], "comparisons" if copied else "counts"
        read = read_comparisons if copied else read_counts
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            answers = await asyncio.gather(*(_fetch(session, each, what, query) for each in addresses))
        return {address: read(each) for address, each in zip(addresses, answers, strict=True)}

    def watch(self, owner: Owner) -> None:
        """Ask often until `settle`; what is known already counts."""
        if owner not in self._waiting:
            self._waiting[owner] = 0.0
            self._wake.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        pause_s = _EAGER_S
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                await self._ask(session)
                self._wake.clear()
                try:
                    async with asyncio.timeout(pause_s if self._waiting else _IDLE_S):
                        await self._wake.wait()
                except TimeoutError:
                    pause_s = min(1.5 * pause_s, _PATIENT_S)
                else:
                    pause_s = _EAGER_S
                    await asyncio.sleep(_EAGER_S / 5)  # for the pilots to have heard of it, too

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        asked_at = time.monotonic()
        try:
            self._addresses = await self._find_addresses(_is_serving)
        except (ApiError, *UNANSWERED) as error:
            _log.warning("the gateway's pods are not known: %s", error)
            return
        self._answers = await asyncio.gather(*(_fetch(session, each, "routes") for each in self._addresses))
        self._asked_at = asked_at
        self.asked.set()
        known = {Owner(*name.split("/", 1)) for answer in self._answers if answer for name in answer["routes"]}
        for owner in known | self._states.keys() | self._waiting.keys():
            state = summarize(owner, self._answers)
            if owner not in known and owner not in self._waiting:
                del self._states[owner]
                self._on_change(owner)
                continue
            waiting = 0.0 < self._waiting.get(owner, 0.0) <= asked_at
            if waiting:
                self._waiting[owner] = 0.0
            if waiting or self._states.get(owner) != state:
                self._states[owner] = state
                self._on_change(owner)

    async def _find_addresses(self, is_meant: Callable[[Json], bool]) -> list[str]:
        found = await self._client.read(self._path, labelSelector=GATEWAY_SELECTOR, resourceVersion="0")
        return [pod["status"]["podIP"] for pod in found["items"] if is_meant(pod)]


def read_idle(answer: Json | None) -> Mapping[Owner, float] | None:
    """What a pilot tells of GET /idle; None where it tells nothing that can be understood."""
    try:
        told = (answer or {})["idle"].items()
        # One that is held is a request, however long it has waited.
        return {Owner(*name.split("/", 1)): 0.0 if each["held"] else float(each["idleS"]) for name, each in told}
    except (KeyError, TypeError, ValueError):
        return None


def read_counts(answer: Json | None) -> Readings | None:
    """What a pilot tells of GET /counts; None where it tells nothing that can be understood."""
    try:
        told = answer or {}
        return {
            Owner(*route.split("/", 1)): Reading(
                uptime_s=float(told["uptimeS"]), tallies={name: _read_tally(each) for name, each in tallies.items()}
            )
            for route, tallies in told["counts"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def read_comparisons(answer: Json | None) -> Readings | None:
    """What a pilot tells of GET /comparisons, as counts of two revisions: the workload that got the copies, and what
    was answered to the same requests.
    """
    try:
        told = answer or {}
        return {
            Owner(*route.split("/", 1)): Reading(
                uptime_s=float(told["uptimeS"]),
                tallies={each: tally for name, counts in found.items() for each, tally in _read_pair(name, counts)},
            )
            for route, found in told["comparisons"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _read_pair(name: str, told: Json) -> Iterator[tuple[str, Tally]]:
    differed = int(told["differed"]) + int(told["failed"])
    requests = int(told["agreed"]) + differed
    times = [{float(ms): int(count) for ms, count in told[each].items()} for each in ("copiedMs", "toldMs")]
    yield name, Tally(requests=requests, differed=differed, times=times[0])
    yield name_compared(name), Tally(requests=requests, times=times[1])


def _read_tally(told: Json) -> Tally:
    return Tally(
        requests=int(told["requests"]),
        errors=int(told["errors"]),
        timeouts=int(told["timeouts"]),
        refusals=int(told["refusals"]),
        times={float(time_ms): int(count) for time_ms, count in told["timesMs"].items()},
    )


def summarize(owner: Owner, answers: list[Json | None]) -> GatewayState:
    """The answers of all pods, as one."""
    routes = [answer["routes"].get("/".join(owner), {}) for answer in answers if answer]
    workloads: list[Mapping[str, int]] = [route.get("workloads", {}) for route in routes]
    weights: list[Mapping[str, int]] = [route.get("weights", {}) for route in routes]
    entries = {name for each in workloads for name in each}
    times = {_find_held_s(route) for route in routes}
    return GatewayState(
        pods=len(answers),
        answered=len(routes),
        routed={name: min(each.get(name, 0) for each in workloads) for name in entries},
        weights_pct={name: pct for name in entries if (pct := min(each.get(name, 0) for each in weights))},
        instances=min((_count_serving(each) for each in routes), default=0),
        generation=min((route.get("generation", 0) for route in routes), default=0),
        held_s=next(iter(times)) if len(times) == 1 else None,
        held_by_any_s=min((each for each in times if each is not None), default=None),
        error=next((route["error"] for route in routes if route.get("error")), ""),
        shadowed_pct=_find_shadowed(routes),
        shadow_problem=_find_of(routes, "shadow", "problem"),
        fallback_problem=_find_of(routes, "fallback", "problem"),
        fallback_note=_find_of(routes, "fallback", "note"),
    )


def _find_held_s(route: Mapping[str, Any]) -> float | None:
    """Since when requests are held."""
    since = route.get("heldSince")
    return datetime.fromisoformat(since).timestamp() if since else None


def _count_serving(route: Mapping[str, Any]) -> int:
    """The instances that requests go to which name no revision."""
    workloads: Mapping[str, int] = route.get("workloads", {})
    return sum(count for name, count in workloads.items() if name in route.get("weights", workloads))


def _find_shadowed(routes: Sequence[Json]) -> dict[str, int]:
    """The workloads that get copies in each pod of the gateway, and the least share."""
    told = [route.get("shadow") or {} for route in routes]
    names = {name for each in told for name in each.get("workloads", ())}
    return {
        name: min(each["sharePct"] for each in told)
        for name in names
        if all(name in each.get("workloads", ()) for each in told)
    }


def _find_of(routes: Sequence[Json], whom: str, what: str) -> str:
    """What one of the gateway's pods says of the fallback, or of the shadow."""
    return next((said for route in routes if (said := (route.get(whom) or {}).get(what))), "")


def _is_serving(pod: Json) -> bool:
    """Whether a pod of the gateway may send requests somewhere: its Envoy does also when its pilot is down."""
    status = pod.get("status", {})
    containers = {each["name"]: each.get("ready", False) for each in status.get("containerStatuses", ())}
    serves = find_condition(pod, "Ready").get("status") == "True" or containers.get("envoy", False)
    return bool(serves and status.get("podIP") and status.get("phase") == "Running" and is_live(pod))


def _may_be_asked(pod: Json) -> bool:
    """Whether a pod of the gateway may have requests: one that is about to end has, till its time to drain is over."""
    if _is_serving(pod):
        return True
    ends, status = pod["metadata"].get("deletionTimestamp"), pod.get("status", {})
    is_draining = ends is not None and datetime.fromisoformat(ends).timestamp() > time.time()
    return bool(is_draining and status.get("podIP") and status.get("phase") == "Running")


async def _fetch(
    session: aiohttp.ClientSession, address: str, what: str, query: Sequence[tuple[str, str]] = ()
) -> Json | None:
    """The pilot's answer to GET /routes, /load, /idle, /counts or /comparisons, which holds an object of that name."""
    try:
        async with session.get(f"http://{bracket(address)}:{_PORT}/{what}", params=query) as response:
            answer = await response.json()
            understood = response.status == 200 and isinstance(answer, dict) and isinstance(answer.get(what), dict)
            return answer if understood else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
