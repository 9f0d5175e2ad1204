"""`python -m forebay.node`: the agent of one node."""

import logging
import os
import signal
import sys
import threading
from importlib.metadata import version

from forebay.node.agent import Agent
from forebay.node.apiserver import Apiserver
from forebay.node.child import Workers
from forebay.node.counts import Counts
from forebay.node.driver import NAME, Driver, build_registration, serve
from forebay.node.environments import Environments
from forebay.node.models import Models
from forebay.node.options import read_options
from forebay.node.report import Json, Seen, build_status
from forebay.node.reporter import Reporter
from forebay.node.roles import Roles
from forebay.node.store import Store
from forebay.node.volumes import ENVIRONMENT, MODEL, list_volumes
from forebay.node.web import serve_http

_log = logging.getLogger("forebay.node")


def main() -> int:
    """Serve until told to stop."""
    options = read_options()
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # What pods see they may read.
    os.umask(0o022)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    counts = Counts()
    store = Store(options.root, limit_bytes=options.limit_bytes, on_evicted=counts.evicted)
    store.open()
    workers = Workers(options.worker_user, allow_loopback=options.allow_loopback)
    server = Apiserver(options.apiserver, options.account) if options.apiserver else None
    models = Models(store, workers, Roles(server), counts, downloads=options.downloads)
    # Another kind of volume is another entry here.
    fills = {MODEL: models.fill, ENVIRONMENT: Environments(store, workers, counts).fill}
    agent = Agent(store, fills, counts)
    agent.reconcile()

    socket = options.kubelet / "plugins" / NAME / "csi.sock"
    driver = Driver(agent, node=options.node, version=version("forebay"), kubelet=options.kubelet)
    servers = [serve(socket, driver.services)]
    servers.append(serve(options.kubelet / "plugins_registry" / f"{NAME}-reg.sock", build_registration(socket)))
    web = serve_http(options.port, lambda: counts.write(lambda: (store.measure().bytes, store.limit_bytes)))
    reporter = None
    if server:
        reporter = Reporter(server, options.node, {"sizeLimit": options.size_limit}, lambda: describe(store))
        reporter.start()
    _log.info("%s serves the models of %s, up to %s", NAME, options.node, options.size_limit)

    ended.wait()
    for server in servers:
        server.stop(1)
    agent.stop()
    if reporter:
        reporter.stop()
    web.shutdown()
    return 0


def describe(store: Store) -> Json:
    """The status of the NodeCache, from what is on the disk."""
    volumes = [(volume.asked, volume.read_state()) for volume in list_volumes(store.volumes)]
    seen = [Seen(asked.title, state) for asked, state in volumes if asked]
    return build_status(store.list_models(), seen, used_bytes=store.measure().bytes)


if __name__ == "__main__":
    sys.exit(main())
