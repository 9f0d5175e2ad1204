"""How deep a queue may be, so that whatever is let in can still be answered in time."""

# Until a service time was measured: deep enough for a first burst, shallow enough to be gone soon.
UNMEASURED_DEPTH = 64
MAX_DEPTH = 100_000
_MARGIN = 0.8


def derive_depth(*, slots: int, service_s: float, deadline_s: float) -> int:
    """Requests that may wait: what the slots finish within the deadline, less a margin for uneven service times.

    By Little's law `slots` servers of `service_s` seconds finish `slots / service_s` requests a second, and a request
    must leave the queue `service_s` before its deadline. At least 1, so that a connection in the making has room.
    """
    if service_s <= 0:
        return UNMEASURED_DEPTH
    depth = slots / service_s * (deadline_s - service_s) * _MARGIN
    return max(1, min(int(depth), MAX_DEPTH))
