"""Free ports on loopback, and who holds one that isn't."""

import contextlib
import random
import socket
from collections import deque
from pathlib import Path

from forebay.local.errors import LocalError

HOST = "127.0.0.1"
_LISTEN = "0A"
# NodePorts begin at 30000, and from 32768 on the kernel gives ports to outgoing connections, before who was told of one
# opens it.
_OURS = range(10240, 30000)
_TRIES = 1000
# Another in each process, however it was forked.
_CHANCE = random.SystemRandom()
# Between a port's choice and the start of what listens on it, another process that looks would find it free. A name
# of the network namespace, as the port is one, says that it is taken; it ends with this process, or after many others.
_LEASES: deque[socket.socket] = deque()
_LEASES_AT_MOST = 256


def find_free_ports(count: int) -> list[int]:
    """`count` different ports that nothing listens on, and that no other process gets from here soon."""
    return [_find_free_port() for _ in range(count)]


def _find_free_port() -> int:
    for _ in range(_TRIES):
        port = _CHANCE.choice(_OURS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            _LEASES.append(_lease(port))
            if len(_LEASES) > _LEASES_AT_MOST:
                _LEASES.popleft().close()
            return port
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _lease(port: int) -> socket.socket:
    """Raise OSError while somebody has it."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0forebay-port-{port}")
    except OSError:
        held.close()
        raise
    return held


def require_free_port(port: int) -> None:
    """Raise LocalError, with the process that holds the port, when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise LocalError(f"port {port} needs root: choose one above 1023 with --port") from error
        except OSError as error:
            holder = _find_holder(port)
            raise LocalError(
                f"port {port} is taken{holder}: choose another with --port, or leave --port out to get a free one"
            ) from error


def _find_holder(port: int) -> str:
    inodes: set[str] = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            rows = [line.split() for line in table.read_text().splitlines()[1:]]
            inodes |= {row[9] for row in rows if row[3] == _LISTEN and int(row[1].rsplit(":", 1)[1], 16) == port}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(_is_socket(fd, inodes) for fd in (process / "fd").iterdir()):
                return f" by {(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _is_socket(fd: Path, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):  # closed since it was listed
        return str(fd.readlink()) in {f"socket:[{inode}]" for inode in inodes}
    return False
