"""The load generator's arithmetic, and one short run of it."""

import itertools
import math
import socketserver
import statistics
import threading
from dataclasses import replace

import pytest

from tests.bench.client import run_load
from tests.bench.load import (
    FAILED,
    GAVE_UP,
    OK,
    REFUSED,
    Load,
    Sample,
    build_schedule,
    measure_rate,
    percentile,
    summarize,
)

LOAD = Load(host="127.0.0.1", port=1, path="/", body="", seconds=2, connections=1, rate_per_s=5, patience_s=0.1)


def test_a_schedule_has_the_rate_and_the_spread_of_a_poisson_process():
    arrivals = build_schedule(rate_per_s=500, seconds=200, seed=1)
    gaps = [after - before for before, after in itertools.pairwise(arrivals)]
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] < 200
    assert len(arrivals) == pytest.approx(100_000, rel=0.02)
    assert statistics.mean(gaps) == pytest.approx(1 / 500, rel=0.02)
    assert statistics.stdev(gaps) == pytest.approx(1 / 500, rel=0.02)


def test_a_schedule_is_that_of_its_seed():
    first, again, other = (build_schedule(rate_per_s=50, seconds=2, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(("share_pct", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_percentiles_are_of_the_nearest_rank(share_pct, expected):
    assert percentile(range(100, 0, -1), share_pct) == expected


def test_the_percentile_of_nothing_is_no_number():
    assert math.isnan(percentile([], 50))


def test_good_is_an_answer_within_the_patience():
    samples = [
        Sample(0.0, 0.001, 0.050, OK),
        Sample(0.1, 0.001, 0.150, OK),
        Sample(0.2, 0.002, 0.004, REFUSED),
        Sample(0.3, 0.001, 0.100, GAVE_UP),
        Sample(0.4, 0.001, 0.001, FAILED),
    ]
    summary = summarize(samples, LOAD)
    assert (summary.offered_per_s, summary.good_per_s) == (2.5, 0.5)
    assert summary.counts == {OK: 2, REFUSED: 1, GAVE_UP: 1, FAILED: 1}
    assert (summary.refusal_p50_ms, summary.ok_p99_ms) == (4, 150)
    assert summary.valid


def test_a_rate_is_of_the_answers_that_came_in_between():
    ends_s = (0.4, 0.5, 0.9, 1.4, 1.5)
    samples = [*(Sample(end_s - 0.1, 0.0, 0.1, OK) for end_s in ends_s), Sample(0.8, 0.0, 0.1, REFUSED)]
    assert measure_rate(samples, from_s=0.5, to_s=1.5) == 3


def test_a_run_behind_its_schedule_is_not_valid():
    assert not summarize([Sample(0.0, 0.0031, 0.01, OK)], LOAD).valid


class Answer(socketserver.StreamRequestHandler):
    """Answers the first request of a connection, and never its second."""

    def handle(self) -> None:
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            assert b"chunked" not in line
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        self.rfile.read()


def test_it_sends_what_is_due_and_gives_up_when_it_said():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        load = replace(LOAD, port=port, seconds=0.5, rate_per_s=40, patience_s=0.2, seed=3)
        samples = run_load(load)
        server.shutdown()
    assert len(samples) == len(build_schedule(rate_per_s=40, seconds=0.5, seed=3))
    statuses = {each.status for each in samples}
    assert statuses == {OK, GAVE_UP}
    assert all(0.19 < each.latency_s < 1 for each in samples if each.status == GAVE_UP)
