"""Recording rules and alerts of the chart, by promtool: on what a real Envoy counted, and on made-up incidents."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from forebay.api.load import load_file
from forebay.controller.metrics import Metrics
from forebay.gateway.metrics import RequestMetrics, write_instances
from forebay.metrics import parse_queue_stats
from forebay.plan.manifests import build_manifests
from forebay.plan.resolve import resolve
from tests.chart.charts import CHART, PROMETHEUS, ROOT, find, render
from tests.chart.rules import DIGITS, Promtool, check, expect, near, read_groups, write_series

STATS = ROOT / "tests/unit/local/envoy_stats"
POD = {
    "job": "forebay-queue",
    "namespace": "default",
    "deployment": "digits",
    "component": "predictor",
    "instance": "digits-predictor-5a1f0c3e-x",
}


def read_stats(name: str, values: str) -> dict[str, str]:
    """A real Envoy's stats as series of a pod, `values` made of each number."""
    text = (STATS / f"{name}.txt").read_text()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    return {
        write_series(sample.name if sample.name in kinds else _restore(sample.name, kinds), sample.labels | POD): (
            values.format(sample.value)
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _restore(name: str, kinds: dict[str, str]) -> str:
    """The parser adds `_total` to counters that Envoy names without it."""
    return name.removesuffix("_total") if kinds.get(name.removesuffix("_total")) == "counter" else name


@pytest.mark.parametrize("name", ["busy", "idle"])
def test_queues_have_the_names_that_they_have_on_a_laptop(promtool: Promtool, tmp_path: Path, name: str):
    stats = parse_queue_stats((STATS / f"{name}.txt").read_text())
    which = write_series("", {key: POD[key] for key in POD if key != "job"})
    expected = [
        near(f"forebay_queue_in_flight{which}", stats.in_flight),
        near(f"forebay_queue_queued{which}", stats.queued),
        *(near(f'forebay_queue_rejected_total{{reason="{key}"}}', value) for key, value in stats.rejected.items()),
    ]
    if stats.service_count:
        expected += [
            near(f"forebay_queue_service_seconds_sum{which}", stats.service_sum_s),
            near(f"forebay_queue_service_seconds_count{which}", stats.service_count),
        ]
    check(promtool, tmp_path, series=read_stats(name, "{0}x10"), promql_expr_test=expected)


def test_the_wait_is_what_the_model_did_not_take(promtool: Promtool, tmp_path: Path):
    stats = parse_queue_stats((STATS / "idle.txt").read_text())
    mean = stats.wait_sum_s / stats.total_count
    series = read_stats("idle", "0+{0}x10")
    check(promtool, tmp_path, series=series, promql_expr_test=[near("forebay:queue_wait_seconds:mean5m", mean)])


def count(**counts: str) -> dict[str, str]:
    """Requests by code: `c200="0+60x30"`."""
    return {
        write_series("forebay_requests_total", {**DIGITS, "revision": "5a1f0c3e", "code": code[1:]}): values
        for code, values in counts.items()
    }


def test_not_ready(promtool: Promtool, tmp_path: Path):
    series = {write_series("forebay_deployment_ready", DIGITS): "1x4 0x20 1x5"}
    expected = [
        expect("ForebayNotReady", 3, value=None),
        expect("ForebayNotReady", 12, value=None),
        expect("ForebayNotReady", 17, value="", severity="critical"),
        expect("ForebayNotReady", 28, value=None),
    ]
    check(promtool, tmp_path, series=series, alert_rule_test=expected)


def test_a_rollout_takes_its_time(promtool: Promtool, tmp_path: Path):
    series = {
        write_series("forebay_deployment_ready", DIGITS): "1x4 0x40",
        # Its steps, and then it is down.
        write_series("forebay_rollout_weight_pct", DIGITS): "0x5 10x20 0x20",
    }
    expected = [
        expect("ForebayNotReady", 24, value=None),
        expect("ForebayNotReady", 40, value="", severity="critical"),
    ]
    check(promtool, tmp_path, series=series, alert_rule_test=expected)


def test_who_looks_at_a_revision_takes_their_time(promtool: Promtool, tmp_path: Path):
    series = {
        write_series("forebay_deployment_ready", DIGITS): "1x4 0x40",
        write_series("forebay_rollout_weight_pct", DIGITS): "0x45",
        # And then it is down.
        write_series("forebay_rollout_waiting", DIGITS): "0x5 1x20 0x20",
    }
    expected = [
        expect("ForebayNotReady", 24, value=None),
        expect("ForebayNotReady", 40, value="", severity="critical"),
    ]
    check(promtool, tmp_path, series=series, alert_rule_test=expected)


def test_rejecting(promtool: Promtool, tmp_path: Path):
    refused = write_series("forebay_requests_rejected_total", {**DIGITS, "reason": "queue-full"})
    series = {**count(c200="0+45x40", c429="0x10 0+15x30"), refused: "0x10 0+15x30"}
    # What no ModelDeployment is meant by, and what a limit of its own refuses, are nobody's incident.
    unknown = {"namespace": "", "deployment": "", "reason": "no-such-deployment"}
    limited = {"namespace": "default", "deployment": "limited", "revision": "5a1f0c3e"}
    series |= {
        write_series("forebay_requests_total", {"namespace": "", "deployment": "", "code": "404"}): "0+60x40",
        write_series("forebay_requests_rejected_total", unknown): "0+60x40",
        write_series("forebay_requests_total", {**limited, "code": "429"}): "0+60x40",
        write_series("forebay_requests_rejected_total", {**limited, "reason": "rate-limit"}): "0+60x40",
    }
    expected = [
        expect("ForebayRejecting", 9, value=None),
        expect("ForebayRejecting", 30, value="25%", severity="warning"),
    ]
    check(promtool, tmp_path, series=series, alert_rule_test=expected)


def test_error_rate(promtool: Promtool, tmp_path: Path):
    series = count(c200="0+50x40", c500="0x10 0+10x30", c404="0+20x40", c503="0x10 0+20x30")
    expected = [
        expect("ForebayErrorRate", 9, value=None),
        expect("ForebayErrorRate", 30, value="30%", severity="critical"),
        expect("ForebayRejecting", 30, value=None),
    ]
    check(promtool, tmp_path, series=series, alert_rule_test=expected)


def test_fallback(promtool: Promtool, tmp_path: Path):
    asked = write_series("forebay_fallbacks_total", {**DIGITS, "fallback": "simple", "code": "200"})
    rarely = write_series("forebay_fallbacks_total", {**DIGITS, "deployment": "other", "fallback": "simple"})
    series = {**count(c200="0+45x40", c503="0x10 0+15x30"), asked: "0x10 0+15x30", rarely: "0+5x40"}
    requests = {**DIGITS, "deployment": "other", "revision": "5a1f0c3e", "code": "200"}
    series |= {write_series("forebay_requests_total", requests): "0+95x40"}
    expected = [expect("ForebayFallback", 9, value=None), expect("ForebayFallback", 30, value="", severity="warning")]
    check(promtool, tmp_path, series=series, alert_rule_test=expected)


def test_latency(promtool: Promtool, tmp_path: Path):
    name, labels = "forebay_request_duration_seconds_bucket", {**DIGITS, "revision": "5a1f0c3e"}
    counts = {"1": "0+90x10 900+10x40", "8": "0+100x10 1000+100x40", "+Inf": "0+100x10 1000+100x40"}
    fast = {"1": "0+100x50", "8": "0+100x50", "+Inf": "0+100x50"}
    quick = {**labels, "deployment": "quick"}
    series = {write_series(name, {**labels, "le": le}): values for le, values in counts.items()}
    series |= {write_series(name, {**quick, "le": le}): values for le, values in fast.items()}
    # 99 of 100 lie under 1 s + 7 s x (99 - 10) / 90.
    expected = [expect("ForebayLatency", 40, value="7.922s", severity="warning")]
    check(promtool, tmp_path, series=series, alert_rule_test=expected)


def test_nobody_asks(promtool: Promtool, tmp_path: Path):
    refused = write_series("forebay_requests_rejected_total", {**DIGITS, "reason": "queue-full"})
    series = {**count(c200="5x40", c500="5x40"), refused: "5x40"}
    alerts = ("ForebayNotReady", "ForebayRejecting", "ForebayErrorRate", "ForebayFallback", "ForebayLatency")
    check(promtool, tmp_path, series=series, alert_rule_test=[expect(each, 30, value=None) for each in alerts])


def test_thresholds_are_the_charts_values():
    text = json.dumps(read_groups(notReadyFor="3m", rejectedRatio=0.5, errorRatio=0.25, latencySeconds=1.5))
    assert '"for": "3m"' in text
    for threshold in ("ratio_rate5m > 0.5", "ratio_rate5m > 0.25", "p99_5m > 1.5"):
        assert threshold in text
    assert "@" not in text


def read_panels() -> Iterator[tuple[str, str]]:
    """Titles and PromQL of the dashboard, its variables filled in."""
    for panel in json.loads((CHART / "files/dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m")
            yield panel["title"], re.sub(r"\$(namespace|deployment)", ".*", expression)


def test_prometheus_takes_the_rules_and_the_dashboards_queries(promtool: Promtool, tmp_path: Path):
    panels = [{"record": f"panel:{number}", "expr": text} for number, (_, text) in enumerate(read_panels())]
    groups = [*read_groups(), {"name": "dashboard", "rules": panels}]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"groups": groups}))
    promtool("check", "rules", tmp_path / "all.yaml")


def list_metrics() -> set[str]:
    """The names of all that the operator and the gateway's pilot tell."""
    of_gateway = [*RequestMetrics(lambda *_: ("", "", "")).write(), *write_instances([])]
    text = generate_latest(Metrics().registry).decode() + "\n".join(of_gateway)
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    parts = {f"{name}_{part}" for name in kinds for part in ("bucket", "sum", "count") if kinds[name] == "histogram"}
    return parts | kinds.keys()


def test_all_metrics_exist():
    rules = [rule for group in read_groups() for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    counted = {series.partition("{")[0] for name in ("busy", "idle") for series in read_stats(name, "{0}")}
    for text in [*(rule["expr"] for rule in rules), *(text for _, text in read_panels())]:
        found = set(re.findall(r"\b(?:forebay|envoy)[_:][\w:]+\b(?!=)", re.sub(r'"[^"]*"', '""', text)))
        assert found, text
        assert found <= recorded | counted | list_metrics()


def test_panels_do_not_overlap():
    panels = json.loads((CHART / "files/dashboard.json").read_text())["panels"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_models_are_scraped_by_the_labels_and_port_that_their_pods_have():
    (item,) = load_file(ROOT / "tests/golden/in/script.yaml")
    pods = [each["spec"]["template"] for each in build_manifests(resolve(item)) if each["kind"] == "Deployment"]
    monitor = find(render(apis=PROMETHEUS), "PodMonitor", "models")["spec"]
    assert pods
    for pod in pods:
        assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        ports = {port["name"] for each in pod["spec"]["initContainers"] for port in each.get("ports", [])}
        labels = {re.sub(r"[^a-zA-Z0-9]", "_", label) for label in pod["metadata"]["labels"]}
        for endpoint in monitor["podMetricsEndpoints"]:
            assert endpoint["port"] in ports
            sources = [each["sourceLabels"][0] for each in endpoint["relabelings"] if "sourceLabels" in each]
            wanted = {each.removeprefix("__meta_kubernetes_pod_label_") for each in sources if "_label_" in each}
            assert wanted <= labels
