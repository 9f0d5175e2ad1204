"""Cyclic checksums: those of two stretches make the one of both, so that stretches may arrive in any order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

Data = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Crc:
    """One kind: its polynomial, lowest bit first, its width, and who goes on with it over more bytes."""

    polynomial: int
    bits: int
    extend: Callable[[Data, int], int]

    def join(self, first: int, second: int, second_bytes: int) -> int:
        """The checksum of two stretches, the second so many bytes long."""
        return self._multiply(_shift(self.polynomial, self.bits, second_bytes), first) ^ second

    def _multiply(self, a: int, b: int) -> int:
        return _multiply(self.polynomial, self.bits, a, b)


class TakingCrc:
    """A cyclic checksum that is being taken, as hashlib does."""

    def __init__(self, kind: Crc) -> None:
        self._kind, self._value = kind, 0

    def update(self, data: Data) -> None:
        """Go on with the next bytes."""
        self._value = self._kind.extend(data, self._value)

    def digest(self) -> bytes:
        """What it is so far, the highest byte first."""
        return self._value.to_bytes(self._kind.bits // 8, "big")


def _extend_crc32(data: Data, value: int) -> int:
    # zlib's own takes twenty times as long. Not every image that knows of storage reads some.
    from zlib_ng.zlib_ng import crc32  # noqa: PLC0415

    return int(crc32(data, value))


def _extend_crc32c(data: Data, value: int) -> int:
    import google_crc32c  # noqa: PLC0415  (only two of the stores use it)

    # It takes nothing that could change meanwhile.
    return int(google_crc32c.extend(value, bytes(data)))


def _multiply(polynomial: int, bits: int, a: int, b: int) -> int:
    """a * b modulo the polynomial: the highest bit is x^0."""
    product = 0
    for bit in range(bits - 1, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (polynomial if b & 1 else 0)
    return product


@cache
def _shift(polynomial: int, bits: int, count: int) -> int:
    """What a checksum is multiplied with as so many bytes follow: x^(8 * count)."""
    power, result = 1 << (bits - 1 - 8), 1 << (bits - 1)
    while count:
        if count & 1:
            result = _multiply(polynomial, bits, power, result)
        power, count = _multiply(polynomial, bits, power, power), count >> 1
    return result


CRCS: Mapping[str, Crc] = {
    "crc32": Crc(0xEDB88320, 32, _extend_crc32),
    "crc32c": Crc(0x82F63B78, 32, _extend_crc32c),
}
