"""The depth follows the measured service time: a real HTTP server gives the stats of an Envoy."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from forebay.local.meter import Meter
from forebay.local.runtime import RuntimeFiles
from forebay.plan.depth import UNMEASURED_DEPTH, derive_depth
from forebay.plan.envoy import Address
from forebay.plan.names import DEPTH_KEY, SLOTS_KEY
from forebay.plan.resolve import QueueLimits

STATS = Path(__file__).parent / "envoy_stats"
TEXT = """# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_sum{{envoy_cluster_name="model_http"}} {sum_ms}
envoy_cluster_upstream_rq_time_count{{envoy_cluster_name="model_http"}} {count}
"""


class Admin:
    """An Envoy's admin port that answers what it is told to."""

    def __init__(self) -> None:
        self.text = ""
        self.asked: list[str] = []
        admin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                admin.asked.append(self.path)
                body = admin.text.encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = Address("127.0.0.1", self.server.server_port)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def admin():
    made = Admin()
    yield made
    made.stop()


def build(admin: Admin, folder: Path, *, derived: bool = True) -> Meter:
    limits = QueueLimits(slots=4, depth=UNMEASURED_DEPTH, depth_derived=derived, timeout_s=2)
    return Meter(limits, admin=admin.address, runtime=RuntimeFiles(folder / "runtime"))


def in_force(folder: Path) -> tuple[int, int]:
    data = folder / "runtime/..data"
    return int((data / SLOTS_KEY).read_text()), int((data / DEPTH_KEY).read_text())


async def read(meter: Meter, admin: Admin, *, sum_ms: float, count: int) -> None:
    admin.text = TEXT.format(sum_ms=sum_ms, count=count)
    async with httpx.AsyncClient(trust_env=False) as client:
        await meter.read(client)


async def test_it_starts_with_the_limits(admin, tmp_path):
    meter = build(admin, tmp_path)
    assert in_force(tmp_path) == (4, UNMEASURED_DEPTH)
    await read(meter, admin, sum_ms=0, count=0)
    assert in_force(tmp_path) == (4, UNMEASURED_DEPTH), "nothing was measured"
    assert admin.asked[0].startswith("/stats/prometheus?filter=")


async def test_the_depth_follows_the_first_measurement_and_then_smoothly(admin, tmp_path):
    meter = build(admin, tmp_path)
    await read(meter, admin, sum_ms=500, count=10)
    first = in_force(tmp_path)[1]
    assert first == meter.depth
    assert first == pytest.approx(derive_depth(slots=4, service_s=0.05, deadline_s=2), rel=0.02)
    await read(meter, admin, sum_ms=500 + 10 * 1000, count=20)
    assert 0.06 < meter.service_s < 1, "between the old and the new"
    second = in_force(tmp_path)[1]
    assert 1 <= second < first
    for number in range(3, 20):
        await read(meter, admin, sum_ms=500 + (number - 1) * 10_000, count=number * 10)
    assert meter.service_s == pytest.approx(1, rel=0.05)
    assert in_force(tmp_path)[1] == pytest.approx(derive_depth(slots=4, service_s=1, deadline_s=2), abs=1)


async def test_a_small_change_is_not_worth_a_write(admin, tmp_path):
    meter = build(admin, tmp_path)
    await read(meter, admin, sum_ms=1000, count=10)
    before = (tmp_path / "runtime/..data").readlink()
    await read(meter, admin, sum_ms=2020, count=20)
    assert (tmp_path / "runtime/..data").readlink() == before


async def test_a_fixed_depth_stays(admin, tmp_path):
    meter = build(admin, tmp_path, derived=False)
    await read(meter, admin, sum_ms=100_000, count=10)
    assert meter.service_s == pytest.approx(10, rel=0.01)
    assert in_force(tmp_path) == (4, UNMEASURED_DEPTH)


async def test_a_sidecar_that_starts_again_counts_from_zero(admin, tmp_path):
    meter = build(admin, tmp_path)
    await read(meter, admin, sum_ms=10_000, count=100)
    depth = in_force(tmp_path)
    await read(meter, admin, sum_ms=50, count=1)
    assert in_force(tmp_path) == depth, "a difference to another life says nothing"
    assert meter.stats.service_count == 1
    await read(meter, admin, sum_ms=50 + 9000, count=10)
    assert meter.service_s > 0.1


async def test_a_sidecar_that_does_not_answer_leaves_what_was(admin, tmp_path):
    meter = build(admin, tmp_path)
    await read(meter, admin, sum_ms=1000, count=10)
    stats, depth = meter.stats, in_force(tmp_path)
    admin.stop()
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        await meter.read(client)
    assert (meter.stats, in_force(tmp_path)) == (stats, depth)


async def test_what_a_real_envoy_says(admin, tmp_path):
    meter = build(admin, tmp_path)
    admin.text = (STATS / "idle.txt").read_text()
    async with httpx.AsyncClient(trust_env=False) as client:
        await meter.read(client)
    assert meter.service_s == pytest.approx(2, rel=0.05)
    assert in_force(tmp_path)[1] == 1, "as long as the deadline: nobody should wait"
