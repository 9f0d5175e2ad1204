"""Which addresses a download may connect to: an address in a manifest must not reach what only this pod can reach."""

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any

from forebay.serving.storage.errors import Reason, StorageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Not link-local, and yet where clouds hand out credentials: AWS and its pod identity, Google, Alibaba, Oracle, Azure.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
# An IPv4 address in the last 32 bits: what a NAT64 gateway or the kernel takes for that address.
_EMBEDDING = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))


class Peril(Enum):
    """Why an address is no server's that others reach, too."""

    # What hands out credentials of this machine, or is on its own link.
    LOCAL = auto()
    LOOPBACK = auto()
    UNSPECIFIED = auto()
    # What no server can have.
    NOBODY = auto()


def find_perils(address: Address) -> Iterator[Peril]:
    """Those of an address, and of the IPv4 addresses that lie in it; none where it may be a server's."""
    for each in _unwrap(address):
        if each in _METADATA or each.is_link_local:
            yield Peril.LOCAL
        elif each.is_loopback:
            yield Peril.LOOPBACK
        elif each.is_unspecified:
            yield Peril.UNSPECIFIED
        elif each.is_multicast or (isinstance(each, ipaddress.IPv4Address) and (each.is_reserved or _is_zero(each))):
            yield Peril.NOBODY


_SAID = {
    Peril.LOCAL: "which hands out credentials of this machine, or is on its own link",
    Peril.LOOPBACK: "which in a pod is the pod itself",
    Peril.UNSPECIFIED: "which in a pod is the pod itself",
    Peril.NOBODY: "which no server can have",
}


class Guard:
    """Decides over every connection of one client. Private ranges are open: in-cluster servers live there."""

    def __init__(self, where: str, *, allow_loopback: bool) -> None:
        """`where` names the source in messages. `allow_loopback`: the user's own machine, not a pod."""
        self._where, self._allow_loopback = where, allow_loopback

    def check_host(self, host: str) -> None:
        """Refuse a host that is an address in any notation, before a name server or a proxy is asked."""
        bare = host.strip("[]").rstrip(".").lower()
        if is_metadata_name(bare):
            raise self._refused(bare, "which hands out credentials of this machine")
        if (address := read_literal(bare)) is not None:
            self._check(address)

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Follow httpcore's `trace` extension: no connection is tried, and none is used, that isn't allowed."""
        if event.endswith("connect_tcp.started"):
            self.check_host(info["host"])
            for address in _resolve(info["host"], info["port"]):
                self._check(address)
        elif event.endswith("connect_tcp.complete"):
            # The name may have been answered otherwise this time: what counts is who is at the other end.
            stream = info["return_value"]
            try:
                self._check(ipaddress.ip_address(stream.get_extra_info("server_addr")[0]))
            except StorageError:
                stream.close()
                raise

    def _check(self, address: Address) -> None:
        for peril in find_perils(address):
            if not (self._allow_loopback and peril in (Peril.LOOPBACK, Peril.UNSPECIFIED)):
                raise self._refused(str(address), _SAID[peril])

    def _refused(self, address: str, what: str) -> StorageError:
        return StorageError(
            Reason.UNSUPPORTED_URI,
            f"{self._where} leads to {address}, {what}: write the address of a server that others reach too (in a "
            "cluster that of a Service)",
        )


def is_metadata_name(host: str) -> bool:
    """Whether a host hands out credentials of this machine, by its name alone."""
    return host in _METADATA_NAMES


def read_literal(host: str) -> Address | None:
    """The address that a host is, in the notations of inet_aton too: 2852039166, 0xa9.254.0251.254, 127.1."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def _resolve(host: str, port: int) -> Iterator[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return  # the connection fails for the same reason, and says so
    for *_, answer in found:
        yield ipaddress.ip_address(answer[0])


def _unwrap(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 addresses that lie in it."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield address.teredo[1]
    if int(address) > 1 and any(address in network for network in _EMBEDDING):
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


def _is_zero(address: ipaddress.IPv4Address) -> bool:
    # 0.0.0.0/8 is "this host" to some kernels.
    return address.packed[0] == 0
