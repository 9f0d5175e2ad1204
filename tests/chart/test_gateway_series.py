"""Rules on what a real gateway tells of real requests."""

import contextlib
import re
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from forebay.local.ports import find_free_ports
from tests.api.apiserver import ControlPlane
from tests.chart.rules import Promtool, check, expect, near, write_series
from tests.gateway.site import Cluster, GatewaySite, find_own_address, ready, running, wait_for

ANSWERED, REFUSED = 30, 10


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the pilot told after requests to `quick`, which answers, and to `digits`, which has no instance."""
    folder = tmp_path_factory.mktemp("gateway")
    (port,) = find_free_ports(1)
    backend = [sys.executable, str(Path(__file__).parents[1] / "gateway/backend.py"), str(port), "quick"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(backend))
        plane = stack.enter_context(ControlPlane(folder / "plane"))
        plane.install_crds()
        site = stack.enter_context(GatewaySite(folder / "site", plane))
        cluster = Cluster(plane)
        for name in ("quick", "digits"):
            cluster.put_deployment(name, traffic=[(f"{name}-predictor-5a1f0c3e", "5a1f0c3e", 100)])
        cluster.put_slice("quick-predictor-5a1f0c3e", ready(find_own_address()), port=port)
        # Who asks before is answered with 503, which is counted.
        wait_for(lambda: site.routes()["default/quick"]["workloads"] == {"quick-predictor-5a1f0c3e": 1})
        assert site.ask("/default/quick/v2").is_success
        wait_for(lambda: site.ask("/default/digits/v2").status_code == 503)
        for _ in range(ANSWERED):
            assert site.ask("/default/quick/v2").is_success
        for _ in range(REFUSED):
            assert site.ask("/default/digits/v2").status_code == 503
        assert site.ask("/default/nobody/v2").status_code == 404
        # Envoy adds up its histograms now and then.
        wait_for(lambda: count_durations(site.get_pilot("/metrics").text) >= ANSWERED)
        text = site.get_pilot("/metrics").text
    return {
        write_series(sample.name, sample.labels): f"0+{sample.value}x30"
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def count_durations(text: str) -> float:
    found = re.search(r'^forebay_request_duration_seconds_count\{.*deployment="quick".*\} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0


def test_alerts_on_who_has_no_instance_and_on_no_other(promtool: Promtool, tmp_path: Path, series: dict[str, str]):
    quick, digits = 'deployment="quick"', 'deployment="digits"'
    expected = [
        near(f"(forebay:requests:rate5m{{{quick}}} * 60 >= bool {ANSWERED})", 1),
        near(f"forebay:errors:ratio_rate5m{{{quick}}}", 0),
        near(f"forebay:errors:ratio_rate5m{{{digits}}}", 1),
        near(f"forebay:rejected:ratio_rate5m{{{quick}}}", 0),
        near(f"forebay:rejected:ratio_rate5m{{{digits}}}", 1),
        near(f"(forebay:latency_seconds:p99_5m{{{quick}}} > bool 0)", 1),
        near(f"(forebay:latency_seconds:p99_5m{{{quick}}} < bool 1)", 1),
        near('count(forebay:requests:rate5m{deployment!~"quick|digits"} or vector(0))', 1),
    ]
    alerts = [
        expect("ForebayRejecting", 20, value="100%", severity="warning"),
        expect("ForebayErrorRate", 20, value="100%", severity="critical"),
        expect("ForebayLatency", 20, value=None),
    ]
    check(promtool, tmp_path, series=series, promql_expr_test=expected, alert_rule_test=alerts)
