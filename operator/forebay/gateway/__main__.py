"""`python -m forebay.gateway`: the pilot beside the gateway's Envoy."""

import asyncio
import logging
import signal

from forebay.gateway.admin import EnvoyAdmin
from forebay.gateway.apiserver import find_api_server
from forebay.gateway.logs import set_up_logs
from forebay.gateway.pilot import Pilot
from forebay.gateway.settings import PilotSettings, read_settings

_log = logging.getLogger("forebay.gateway")


async def serve(settings: PilotSettings) -> None:
    """Run a pilot until SIGTERM."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with find_api_server(settings.account) as api, EnvoyAdmin(settings.admin_socket) as admin:
        await Pilot(api, admin, settings).run(stop)
    _log.info("stopped")


def main() -> None:
    """Entry point."""
    settings = read_settings()
    set_up_logs(settings)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
