"""`python -m forebay.gateway`: the pilot beside the gateway's Envoy."""

import asyncio
import logging
import signal
import sys

from forebay.environment import SettingsError
from forebay.gateway.admin import EnvoyAdmin
from forebay.gateway.pilot import Pilot
from forebay.gateway.settings import PilotSettings, read_settings
from forebay.kube.client import Client
from forebay.kube.connection import find_pod_connection
from forebay.logs import set_up_logs

_log = logging.getLogger("forebay.gateway")


async def serve(settings: PilotSettings) -> None:
    """Run a pilot until SIGTERM."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    connection = find_pod_connection(settings.service_account)
    if connection is None:
        sys.exit("error: the pilot runs in a pod of a cluster, by its ServiceAccount: there is none")
    async with Client(connection) as client, EnvoyAdmin(settings.admin_socket) as admin:
        await Pilot(client, admin, settings).run(stop)
    _log.info("stopped")


def main() -> int:
    """Run until told to stop."""
    try:
        settings = read_settings()
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    set_up_logs(form=settings.log_format, level=settings.log_level)
    asyncio.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
