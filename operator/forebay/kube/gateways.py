"""What the gateway's pods route, asked of the pilot in each."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.connection import bracket
from forebay.kube.holdings import Owner
from forebay.kube.resources import GATEWAY_SELECTOR, POD
from forebay.rollout.state import GatewayState
from forebay.status.pods import find_condition, is_live

Json = dict[str, Any]

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
                    await asyncio.wait_for(self._wake.wait(), timeout=pause_s if self._waiting else _IDLE_S)
                except TimeoutError:
                    pause_s = min(1.5 * pause_s, _PATIENT_S)
                else:
                    pause_s = _EAGER_S
                    await asyncio.sleep(_EAGER_S / 5)  # for the pilots to have heard of it, too

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        asked_at = time.monotonic()
        try:
            found = await self._client.read(self._path, labelSelector=GATEWAY_SELECTOR, resourceVersion="0")
        except (ApiError, *UNANSWERED) as error:
            _log.warning("the gateway's pods are not known: %s", error)
            return
        pods = [pod for pod in found["items"] if _is_serving(pod)]
        self._answers = await asyncio.gather(*(_fetch(session, pod["status"]["podIP"]) for pod in pods))
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


def summarize(owner: Owner, answers: list[Json | None]) -> GatewayState:
    """The answers of all pods, as one."""
    routes = [answer["routes"].get("/".join(owner), {}) for answer in answers if answer]
    workloads: list[Mapping[str, int]] = [route.get("workloads", {}) for route in routes]
    entries = {name for each in workloads for name in each}
    return GatewayState(
        pods=len(answers),
        answered=len(routes),
        routed={name: min(each.get(name, 0) for each in workloads) for name in entries},
        instances=min((sum(each.values()) for each in workloads), default=0),
        generation=min((route.get("generation", 0) for route in routes), default=0),
        error=next((route["error"] for route in routes if route.get("error")), ""),
    )


def _is_serving(pod: Json) -> bool:
    """Whether a pod of the gateway may send requests somewhere: its Envoy does also when its pilot is down."""
    status = pod.get("status", {})
    containers = {each["name"]: each.get("ready", False) for each in status.get("containerStatuses", ())}
    serves = find_condition(pod, "Ready").get("status") == "True" or containers.get("envoy", False)
    return bool(serves and status.get("podIP") and status.get("phase") == "Running" and is_live(pod))


async def _fetch(session: aiohttp.ClientSession, address: str) -> Json | None:
    try:
        async with session.get(f"http://{bracket(address)}:{_PORT}/routes") as response:
            answer = await response.json()
            understood = response.status == 200 and isinstance(answer, dict) and isinstance(answer.get("routes"), dict)
            return answer if understood else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
