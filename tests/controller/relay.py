"""Connections from one address to another, that can be held."""

import socket
import threading
from collections.abc import Callable
from typing import Self


class Relay:
    """Listens at one address, and passes everything on. While it is held nothing comes through, and nothing is lost."""

    def __init__(self, near: tuple[str, int], find_far: Callable[[], tuple[str, int]]) -> None:
        self._find_far = find_far
        self._listener = socket.create_server(near, backlog=64)
        self._flows = threading.Event()
        self._flows.set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._flows.set()

    def hold(self) -> None:
        """Let nothing through."""
        self._flows.clear()

    def release(self) -> None:
        """Let through what was held, and everything from now on."""
        self._flows.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._find_far(), timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        threads = [threading.Thread(target=self._copy, args=pair, daemon=True) for pair in ((near, far), (far, near))]
        for each in threads:
            each.start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
