"""The end of a gateway's pod: clients are told to go elsewhere, and whoever is still there is served."""

import asyncio
import logging

from forebay.gateway.admin import EnvoyAdmin

_LIMIT_S = 12.0
# kube-proxy and load balancers send new connections for so long after the pod began to end.
_SETTLE_S = 3.0
_POLL_S = 0.1
_log = logging.getLogger(__name__)


async def drain_envoy(admin: EnvoyAdmin, *, limit_s: float = _LIMIT_S) -> None:
    """Wait until no client is connected any more, or the limit. Envoy is still to be ended by whoever started it."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    left = 0
    try:
        await admin.drain()
        while loop.time() - begun_s < limit_s:
            left = await admin.count_connections()
            if not left and loop.time() - begun_s >= _SETTLE_S:
                break
            await asyncio.sleep(_POLL_S)
    except OSError as error:
        _log.warning("no drain: %s", error)
        return
    _log.info("drained in %.1f s: %d connections are left", loop.time() - begun_s, left)
