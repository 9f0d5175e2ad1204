"""A tap before a server: counts what is fetched, and holds it back where a test wants that."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator

_BLOCK = 64 * 1024
_SIGNER = re.compile(rb"Credential=([^/]+)/")


class Tap:
    """Passes connections on to a port of an address, and counts answers' bytes and the objects that were asked for."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._address = address
        self.asked: list[str] = []
        self.posted: list[str] = []
        # Whose keys requests were signed with.
        self.signers: set[str] = set()
        self.bytes = 0
        self._port = port
        self._left: int | None = None
        self._changed = threading.Condition()

    def hold_after(self, count: int) -> None:
        """Let so many more bytes through, and then none."""
        with self._changed:
            self._left = count

    def let_go(self) -> None:
        """Let everything through."""
        with self._changed:
            self._left = None
            self._changed.notify_all()

    def await_hold(self, timeout_s: float = 60) -> None:
        """Wait until all that may come has come."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._left == 0, timeout_s), f"{self._left} bytes didn't come"

    def fetched(self, key: str) -> int:
        """How often any part of an object was asked for."""
        return sum(path.endswith(f"/{key}") for path in self.asked)

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        with socket.create_server((self._address, 0)) as server:
            threading.Thread(target=self._accept, args=(server,), daemon=True).start()
            try:
                yield f"http://{self._address}:{server.getsockname()[1]}"
            finally:
                self.let_go()

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is closed at the end
            while True:
                client, _ = server.accept()
                backend = socket.create_connection((self._address, self._port))
                threading.Thread(target=self._ask, args=(client, backend), daemon=True).start()
                threading.Thread(target=self._answer, args=(backend, client), daemon=True).start()

    def _ask(self, client: socket.socket, backend: socket.socket) -> None:
        place = None
        with contextlib.suppress(OSError):
            while block := client.recv(_BLOCK):
                if block.startswith(b"GET "):
                    place = None
                    self.asked.append(block.split(b" ")[1].decode().partition("?")[0])
                elif block.startswith(b"POST "):
                    place = len(self.posted)
                    self.posted.append(block.decode(errors="replace"))
                elif place is not None:
                    # The body comes after its head, or with it.
                    self.posted[place] += block.decode(errors="replace")
                self.signers |= {each.decode() for each in _SIGNER.findall(block)}
                backend.sendall(block)
            backend.shutdown(socket.SHUT_WR)

    def _answer(self, backend: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := backend.recv(_BLOCK):
                with self._changed:
                    self.bytes += len(block)
                while block:
                    allowed = self._take(len(block))
                    client.sendall(block[:allowed])
                    block = block[allowed:]
            client.shutdown(socket.SHUT_WR)

    def _take(self, count: int) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._left != 0)
            if self._left is None:
                return count
            allowed = min(count, self._left)
            self._left -= allowed
            self._changed.notify_all()
            return allowed
