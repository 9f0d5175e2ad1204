"""Protobuf's wire format, walked over without taking in what isn't asked for: a model may have gigabytes of weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

_VARINT, _LENGTH = 0, 2
# Kinds of numbers, and their bytes.
_FIXED = {1: 8, 5: 4}
_LONGEST_VARINT = 10


class WireError(Exception):
    """These bytes are no protobuf message. `at` is where that showed, `cut_off` says that they end too early."""

    def __init__(self, at: int, *, cut_off: bool) -> None:
        super().__init__(f"no protobuf message: byte {at}")
        self.at = at
        self.cut_off = cut_off


@dataclass(frozen=True)
class Message:
    """A message in a file, from byte `start` to `end`. Nothing of it is read before it is asked for."""

    data: mmap
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, "int | Message"]]:
        """Each field's number and value: an integer, or the place of its bytes. Raises WireError."""
        at = self.start
        while at < self.end:
            tag, at = self._varint(at)
            number, kind = tag >> 3, tag & 7
            value: int | Message
            if number <= 0 or kind not in (_VARINT, _LENGTH, *_FIXED):
                raise WireError(at, cut_off=False)
            if kind == _VARINT:
                value, at = self._varint(at)
            elif kind == _LENGTH:
                length, at = self._varint(at)
                value = Message(self.data, at, self._within(at, length))
                at = value.end
            else:
                value, at = 0, self._within(at, _FIXED[kind])
            yield number, value

    def messages(self, *numbers: int) -> Iterator["Message"]:
        """The messages in the fields of these numbers, in their order. Raises WireError."""
        for number, value in self.fields():
            if number in numbers and isinstance(value, Message):
                yield value

    def text(self, number: int) -> str:
        """The text in a field, empty where there is none. Raises WireError."""
        return "".join(self.data[each.start : each.end].decode("utf-8", "replace") for each in self.messages(number))

    def integer(self, number: int) -> int:
        """The integer in a field, 0 where there is none. Raises WireError."""
        found = 0
        for each, value in self.fields():
            if each == number and isinstance(value, int):
                found = value
        return found

    def has(self, number: int) -> bool:
        """Whether there is a field of this number. Raises WireError."""
        return any(each == number for each, _ in self.fields())

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for count in range(_LONGEST_VARINT):
            if at + count >= self.end:
                raise WireError(at, cut_off=True)
            byte = self.data[at + count]
            value |= (byte & 0x7F) << (7 * count)
            if byte < 0x80:
                return _signed(value), at + count + 1
        raise WireError(at, cut_off=False)

    def _within(self, at: int, length: int) -> int:
        if length < 0 or at + length > self.end:
            raise WireError(at, cut_off=length >= 0)
        return at + length


def _signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value
