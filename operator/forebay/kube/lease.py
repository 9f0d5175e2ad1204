"""Who leads: the holder of a Lease, until the moment that somebody else may hold it.

The client library's own election (`kubernetes.aio.leaderelection`, 37.0) is not used: its creation of a Lease fails in
its own validation, a lost connection ends it, it never gives a lease back, and it has no fence.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from forebay.kube.client import UNANSWERED, ApiError, Client
from forebay.kube.resources import LEASE

Json = dict[str, Any]

_log = logging.getLogger(__name__)
NAME = "forebay-operator"
DURATION_S = 15
RETRY_S = 2.0
# Clocks of two machines run at slightly different speeds, and a write takes its time to arrive.
_MARGIN_S = 3.0


class LostLeaseError(Exception):
    """Somebody else may lead by now: nothing is to be written any more."""


class Fence:
    """Lets writes through only while no other can have taken the lead."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether writes may pass."""
        return self._clock() < self._until

    def extend(self, *, asked_at: float) -> None:
        """The lease was renewed by a request that was sent at `asked_at`."""
        self._until = asked_at + DURATION_S - _MARGIN_S

    def close(self) -> None:
        """The lead was given up."""
        self._until = 0.0

    def check(self) -> None:
        """Raise LostLeaseError when the lease may have passed to another."""
        if not self.is_open:
            raise LostLeaseError("the lease was not renewed in time: another operator may lead by now")


@dataclass(kw_only=True)
class Election:
    """One candidate. As with client-go, a lease is free when its holder hasn't renewed it for as long as we look."""

    client: Client
    fence: Fence
    namespace: str
    identity: str
    clock: Callable[[], float] = time.monotonic
    _seen: Json = field(default_factory=dict)
    _seen_at: float = 0.0

    async def try_once(self) -> bool:
        """Take the lease, or renew it; whether it is ours."""
        asked_at = self.clock()
        try:
            async with asyncio.timeout(DURATION_S / 3):
                ours = await self._try()
        except (ApiError, *UNANSWERED) as error:
            _log.warning("the lease was not renewed: %s", error or type(error).__name__)
            return False
        if ours:
            self.fence.extend(asked_at=asked_at)
        return ours

    async def release(self) -> None:
        """Give the lease back, so that another need not wait until it runs out."""
        self.fence.close()
        if self._seen.get("spec", {}).get("holderIdentity") != self.identity:
            return
        try:
            # A replacement, which fails if somebody else has the lease by now.
            await self._replace({**self._seen, "spec": {**self._seen["spec"], "holderIdentity": ""}})
        except (ApiError, *UNANSWERED) as error:
            _log.info("the lease was not given back: %s", error or type(error).__name__)

    async def _try(self) -> bool:
        lease = await self.client.find(LEASE.path(namespace=self.namespace, name=NAME))
        if lease is None:
            return await self._create()
        if lease != self._seen:
            self._seen, self._seen_at = lease, self.clock()
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity", "")
        if holder not in ("", self.identity) and self.clock() < self._seen_at + spec.get(
            "leaseDurationSeconds", DURATION_S
        ):
            return False
        taken = {} if holder == self.identity else self._build_taking(spec)
        renewed = {**spec, **taken, "leaseDurationSeconds": DURATION_S, "renewTime": _now()}
        try:
            self._keep(await self._replace({**lease, "spec": renewed}))
        except ApiError as error:
            if error.status == HTTPStatus.CONFLICT:  # another candidate was quicker
                return False
            raise
        return True

    def _build_taking(self, spec: Json) -> Json:
        transitions = spec.get("leaseTransitions", 0) + 1
        return {"holderIdentity": self.identity, "acquireTime": _now(), "leaseTransitions": transitions}

    async def _create(self) -> bool:
        now = _now()
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION_S,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        metadata = {"name": NAME, "namespace": self.namespace}
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
        try:
            answer = await self.client.write("POST", LEASE.path(namespace=self.namespace), body)
        except ApiError as error:
            if error.status == HTTPStatus.CONFLICT:
                return False
            raise
        self._keep(answer.body)
        return True

    async def _replace(self, lease: Json) -> Json:
        path = LEASE.path(namespace=self.namespace, name=NAME)
        return (await self.client.write("PUT", path, lease)).body

    def _keep(self, lease: Json) -> None:
        self._seen, self._seen_at = lease, self.clock()


async def lead(election: Election, work: Callable[[], Awaitable[None]]) -> None:
    """Wait for the lease, do `work` while it is held, and return when the work has ended.

    Raises LostLeaseError when the lease couldn't be renewed in time.
    """
    try:
        while not await election.try_once():  # noqa: ASYNC110  (it is the lease that is waited for)
            await asyncio.sleep(RETRY_S)
        _log.info("%s leads", election.identity)
        working = asyncio.ensure_future(work())
        try:
            while not working.done():
                await asyncio.wait({working}, timeout=RETRY_S)
                if not working.done() and not await election.try_once():
                    election.fence.check()
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    finally:
        await election.release()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
