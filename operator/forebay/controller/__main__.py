"""The operator: `python -m forebay.controller`. Its settings are environment variables, see settings.py."""

import asyncio
import logging
import signal
import socket
import sys
from uuid import uuid4

import uvloop

from forebay.controller.metrics import Metrics
from forebay.controller.operate import operate
from forebay.controller.web import build_app
from forebay.environment import SettingsError
from forebay.http_port import serve_app
from forebay.kube.client import Client
from forebay.kube.connection import Connection, NoClusterError, find_pod_connection
from forebay.kube.lease import Election, Fence, LostLeaseError, lead
from forebay.logs import set_up_logs
from forebay.settings import Settings, read_settings

_log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Wait for the lead, and look after ModelDeployments while it is held."""
    main, loop = asyncio.current_task(), asyncio.get_running_loop()

    def listen() -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, lambda: main and main.cancel())

    listen()
    connection = find_pod_connection() or await _find_own_connection()
    fence, metrics = Fence(), Metrics()
    # Two processes of one pod's name, such as before and after a crash, are two candidates.
    identity = f"{settings.pod_name or socket.gethostname()}_{uuid4().hex[:8]}"
    async with serve_app(build_app(metrics.registry), port=settings.port), Client(connection) as client:
        election = Election(client=client, fence=fence, namespace=settings.namespace, identity=identity)
        await lead(election, lambda: operate(connection, fence, metrics, settings, on_start=listen))


async def _find_own_connection() -> Connection:
    """Outside of a pod, as in tests: a person's kubeconfig."""
    from forebay.kube.kubeconfig import load_login  # noqa: PLC0415  (it takes memory that a pod can save)

    return (await load_login()).connection


def main() -> int:
    """Run until told to stop; status 1 when the lead was lost, so that it begins anew."""
    try:
        settings = read_settings()
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    set_up_logs(form=settings.log_format, level=settings.log_level)
    try:
        uvloop.run(run(settings))
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 0
    except (NoClusterError, LostLeaseError) as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
