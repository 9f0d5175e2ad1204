"""A relay before a server: it counts what the server sends, and can hold it back at a given byte, or alter it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

READ_BYTES = 64 * 1024


class Relay:
    """Passes connections on to a server of this machine. `limit_bytes`: how much of its answers goes through."""

    def __init__(
        self, port: int, *, limit_bytes: int | None = None, alter: Callable[[bytes], bytes] | None = None
    ) -> None:
        self.sent_bytes = 0
        # Set once an answer was held back.
        self.held = threading.Event()
        self._port, self._limit, self._alter = port, limit_bytes, alter
        self._allowed = threading.Condition()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def release(self) -> None:
        """Let everything through."""
        with self._allowed:
            self._limit = None
            self._allowed.notify_all()

    def serve(self) -> None:
        """Take connections until `close`."""
        while True:
            try:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client), kwargs={"counted": True}, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and hold none back."""
        self.release()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _pass(self, source: socket.socket, target: socket.socket, *, counted: bool = False) -> None:
        try:
            while data := source.recv(READ_BYTES):
                if counted:
                    self._count(len(data))
                    data = self._alter(data) if self._alter else data
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def _count(self, size: int) -> None:
        with self._allowed:
            while self._limit is not None and self.sent_bytes + size > self._limit:
                self.held.set()
                self._allowed.wait()
            self.sent_bytes += size


@contextmanager
def relaying(
    address: str, *, limit_bytes: int | None = None, alter: Callable[[bytes], bytes] | None = None
) -> Iterator[Relay]:
    """A running relay before http://127.0.0.1:PORT."""
    relay = Relay(int(address.rpartition(":")[2]), limit_bytes=limit_bytes, alter=alter)
    threading.Thread(target=relay.serve, daemon=True).start()
    try:
        yield relay
    finally:
        relay.close()
