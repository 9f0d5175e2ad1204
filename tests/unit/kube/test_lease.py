"""When writes may pass, and who may take a lease, by the clock."""

from collections.abc import Iterator
from typing import Any

import pytest

from forebay.kube.client import Answer, ApiError
from forebay.kube.lease import DURATION_S, Election, Fence, LostLeaseError


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Leases:
    """An apiserver's Lease: a replacement of what has changed since is refused."""

    def __init__(self, clock: Clock) -> None:
        self.lease: dict[str, Any] = {}
        self.clock, self.delay_s, self.version = clock, 0.0, 0

    async def find(self, _: str) -> dict[str, Any] | None:
        return dict(self.lease) or None

    async def write(self, method: str, _: str, body: dict[str, Any]) -> Answer:
        self.clock.now_s += self.delay_s
        there, wanted = self.lease.get("metadata", {}), body["metadata"]
        if bool(there) == (method == "POST") or there.get("resourceVersion") != wanted.get("resourceVersion"):
            raise ApiError(409, "Conflict", "")
        self.version += 1
        self.lease = {**body, "metadata": {**wanted, "resourceVersion": str(self.version)}}
        return Answer(200, self.lease)


@pytest.fixture
def clock() -> Iterator[Clock]:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases:
    return Leases(clock)


def stand(leases: Leases, clock: Clock, name: str) -> Election:
    return Election(client=leases, fence=Fence(clock), namespace="ns", identity=name, clock=clock)  # type: ignore[arg-type]


def test_fence_closes_before_the_lease_ends(clock: Clock) -> None:
    fence = Fence(clock)
    with pytest.raises(LostLeaseError):
        fence.check()
    fence.extend(asked_at=clock.now_s)
    clock.now_s += DURATION_S - 4
    fence.check()
    clock.now_s += 2
    with pytest.raises(LostLeaseError):
        fence.check()


async def test_a_slow_answer_counts_from_when_it_was_asked(leases: Leases, clock: Clock) -> None:
    leases.delay_s = DURATION_S - 1
    first = stand(leases, clock, "first")
    assert await first.try_once()
    assert not first.fence.is_open


async def test_another_waits_as_long_as_it_has_seen_no_renewal(leases: Leases, clock: Clock) -> None:
    first, second = stand(leases, clock, "first"), stand(leases, clock, "second")
    assert await first.try_once()
    clock.now_s += 100  # however old it is: who looks first knows nothing of the holder
    assert not await second.try_once()
    clock.now_s += DURATION_S - 1
    assert await first.try_once()
    assert not await second.try_once()
    clock.now_s += DURATION_S - 1
    assert not await second.try_once()
    assert not first.fence.is_open
    clock.now_s += 1
    assert await second.try_once()
    assert second.fence.is_open
    assert not await first.try_once()
    assert leases.lease["spec"]["leaseTransitions"] == 1


async def test_never_are_both_fences_open(leases: Leases, clock: Clock) -> None:
    both = [stand(leases, clock, name) for name in ("first", "second")]
    for step in range(400):
        # Each sleeps now and then, for longer than the lease.
        asleep = 0 if step % 40 < 12 else 1 if step % 40 > 28 else None
        for index, each in enumerate(both):
            if index != asleep:
                await each.try_once()
        assert sum(each.fence.is_open for each in both) < 2
        clock.now_s += 2


async def test_what_is_given_back_is_free_at_once(leases: Leases, clock: Clock) -> None:
    first, second = stand(leases, clock, "first"), stand(leases, clock, "second")
    assert await first.try_once()
    assert not await second.try_once()
    await first.release()
    assert not first.fence.is_open
    assert await second.try_once()
    await first.release()  # which takes nothing from the second
    assert leases.lease["spec"]["holderIdentity"] == "second"
