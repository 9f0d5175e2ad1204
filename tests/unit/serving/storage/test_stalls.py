"""A download that goes on, though nothing arrives, and one that doesn't."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.serving.storage import Progress, StorageError, arriving, checksums, workers
from forebay.serving.storage.checksums import Arrived
from forebay.serving.storage.fetch import fetch_tree
from forebay.serving.storage.place import Place
from forebay.serving.storage.source import Item, Listing
from forebay.serving.storage.sums import Sum

MIB = 1024 * 1024
LISTING = Listing((Item("m.bin", "k", 24 * MIB, "v1"),))


class Quick:
    """A source that sends at once what takes long to sum."""

    def __init__(self, *sums: Sum, breaks_off: bool = False) -> None:
        self._sums, self._breaks_off = sums, breaks_off

    def find(self) -> Listing:
        return LISTING

    def read(self, _: Item, start: int, end: int | None) -> Iterator[bytes]:
        assert end
        yield bytes(end - start)
        time.sleep(3 if self._breaks_off else 0)

    def sums(self, _: Item) -> tuple[Sum, ...]:
        return self._sums

    def check(self, _: Item, file: Arrived) -> None:
        file.read_sum(Sum("sha512"))
        file.read_sum_of_parts("md5", [12 * MIB, 12 * MIB])

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(autouse=True)
def slow_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for what an old processor or a busy disk takes minutes for."""

    class Slow:
        def __init__(self, *_: object) -> None:
            pass

        def update(self, data: bytes) -> None:
            time.sleep(len(data) / (24 * MIB))

        def digest(self) -> bytes:
            return b""

    monkeypatch.setattr(workers, "STALLED_S", 0.4)
    monkeypatch.setattr(arriving, "start_sum", Slow)
    monkeypatch.setattr(checksums, "start_sum", Slow)
    monkeypatch.setattr(checksums, "start_plain", Slow)


def test_sums_that_take_long_are_no_stall(tmp_path: Path) -> None:
    seen: list[Progress] = []
    fetch_tree(Quick(Sum("sha256")), LISTING, Place(tmp_path / "m"), seen.append)
    assert seen[-1] == Progress(24 * MIB, 24 * MIB, 1, 1)
    assert max(each.bytes_done for each in seen) == 24 * MIB, "what is read again didn't arrive again"


def test_a_server_that_sends_no_more_is_one(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="has sent next to nothing"):
        fetch_tree(Quick(breaks_off=True), LISTING, Place(tmp_path / "m"), None)
