"""The threads of a download: they end together, with the first error, and never wait for ever."""

import threading
from collections.abc import Iterator

import pytest

from forebay.serving.storage import Reason, StorageError, workers
from forebay.serving.storage.workers import run_workers


def test_all_jobs_are_done_once() -> None:
    done: list[int] = []
    run_workers(4, iter(range(1000)), done.append, progress=lambda: len(done), stop=threading.Event())
    assert sorted(done) == [*range(1000)]


def test_the_first_error_stops_the_others() -> None:
    stop, begun = threading.Event(), []

    def work(job: int) -> None:
        begun.append(job)
        if job == 3:
            raise StorageError(Reason.NOT_FOUND, "gone")
        assert stop.wait(60)

    with pytest.raises(StorageError, match="gone"):
        run_workers(4, iter(range(1000)), work, progress=lambda: 0, stop=stop)
    assert sorted(begun) == [0, 1, 2, 3]


def test_jobs_that_can_not_be_made_up() -> None:
    def jobs() -> Iterator[int]:
        yield 1
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run_workers(2, jobs(), lambda _: None, progress=lambda: 0, stop=threading.Event())


def test_nobody_waits_for_a_server_that_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "STALLED_S", 0.2)
    never = threading.Event()
    with pytest.raises(StorageError) as caught:
        run_workers(2, iter(range(2)), lambda _: never.wait(60) and None, progress=lambda: 0, stop=threading.Event())
    assert (caught.value.reason, "run this again" in caught.value.message) == (Reason.ENDPOINT_UNREACHABLE, True)
    never.set()
