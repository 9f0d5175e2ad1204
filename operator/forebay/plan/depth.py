"""How deep a queue may be, so that whatever is let in can still be answered in time."""

# Until a service time was measured: deep enough for a first burst, shallow enough to be gone soon.
UNMEASURED_DEPTH = 64
_UNMEASURED_SERVICE_S = 0.05
MAX_DEPTH = 100_000
_MARGIN = 0.8
_ROUNDS_MARGIN = 0.9


def derive_depth(*, slots: int, service_s: float, deadline_s: float) -> int:
    """Requests that may wait: what the slots finish within the deadline, less a margin for uneven service times.

    By Little's law `slots` servers of `service_s` seconds finish `slots / service_s` requests a second, and a request
    must leave the queue `service_s` before its deadline. That is so on average: slots that are in step take a round of
    `slots` requests at once, and who misses one waits for the next. So no more rounds may wait than fit into the
    deadline before one's own. One place too many is dear: its request is cut off while the model still works on it,
    which frees the slot but not the model, and makes the next one late too.

    At least 1, so that a connection in the making has room. A `service_s` of 0 is not measured yet: then the depth is
    what a service time of 50 ms would allow, 64 at most.
    """
    if service_s <= 0:
        measured = derive_depth(slots=slots, service_s=_UNMEASURED_SERVICE_S, deadline_s=deadline_s)
        return min(measured, UNMEASURED_DEPTH)
    depth = slots / service_s * (deadline_s - service_s) * _MARGIN
    rounds = deadline_s * _ROUNDS_MARGIN / service_s - 1
    if rounds >= 1:
        depth = min(depth, slots * int(rounds))
    return max(1, min(int(depth), MAX_DEPTH))
