"""dulwich's connections, each of which is looked at before and after it is made."""

import socket
from collections.abc import Callable, Mapping
from typing import Any

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from forebay.serving.storage.addresses import Guard

Classes = Mapping[str, Any]


def build_pool_manager(guard: Guard, build: Callable[[Classes], Any]) -> Any:
    """A pool manager whose connections are guarded. `build` makes it, or a proxy's, of the classes that it is given."""

    class Connection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            guard.trace("connect_tcp.started", {"host": self._dns_host, "port": self.port})
            connection = super()._new_conn()
            try:
                # The name may have been answered otherwise this time: what counts is who is at the other end.
                guard.check_host(connection.getpeername()[0])
            except BaseException:
                connection.close()
                raise
            return connection

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    class Manager(urllib3.PoolManager):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            # And no others: a redirect doesn't lead away from TLS.
            self.pool_classes_by_scheme = {"https": Pool}
            self.key_fn_by_scheme = {"https": self.key_fn_by_scheme["https"]}

    class Proxied(urllib3.ProxyManager):
        def connection_from_host(self, host: str | None, *args: Any, **options: Any) -> Any:
            # The proxy resolves the name: it is looked at alone.
            guard.check_host(host or "")
            return super().connection_from_host(host, *args, **options)

    return build({"pool_manager_cls": Manager, "proxy_manager_cls": Proxied})
