"""Forebay's metrics out of what a real Envoy counted (local/envoy_stats)."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from forebay.metrics import (
    LABELS,
    LOAD_FILTER,
    STATS_FILTER,
    InstanceSample,
    QueueStats,
    build_families,
    parse_queue_stats,
)

STATS = Path(__file__).parent / "local/envoy_stats"


def read(name: str) -> QueueStats:
    return parse_queue_stats((STATS / f"{name}.txt").read_text())


def test_four_requests_of_two_seconds_at_one_slot_and_one_place():
    busy = read("busy")
    assert (busy.in_flight, busy.queued) == (1, 1)
    assert busy.rejected["queue-full"] == 2
    assert busy.rejected["timeout"] == 0


def test_afterwards_the_times_are_there():
    idle = read("idle")
    assert (idle.in_flight, idle.queued) == (0, 0)
    assert (idle.total_count, idle.service_count) == (2, 2)
    assert idle.service_sum_s == pytest.approx(4, rel=0.05)
    assert idle.wait_sum_s == pytest.approx(2, rel=0.1), "the second waited for the first"
    assert idle.rejected["queue-full"] == 2


def test_nothing_counted_yet():
    stats = parse_queue_stats("")
    assert (stats.in_flight, stats.queued, stats.wait_sum_s, stats.service_count) == (0, 0, 0, 0)
    assert set(stats.rejected) == {"queue-full", "timeout", "instance-failed"}
    assert sum(stats.rejected.values()) == 0


def test_rest_and_grpc_count_together():
    line = 'envoy_cluster_upstream_rq_time_{what}{{envoy_cluster_name="{cluster}"}} {value}\n'
    kinds = "# TYPE envoy_cluster_upstream_rq_time histogram\n"
    text = kinds + "".join(
        line.format(what=what, cluster=cluster, value=value)
        for cluster, total, count in (("model_http", 100, 2), ("model_grpc", 200, 3), ("control_http", 9, 9))
        for what, value in (("sum", total), ("count", count))
    )
    stats = parse_queue_stats(text)
    assert stats.service_count == 5, "health checks are no predictions"
    assert stats.service_sum_s == pytest.approx(0.3, abs=0.01)


def test_the_filter_asks_for_what_is_read_and_no_more():
    wanted = ("cluster.queue.upstream_rq_active", "cluster.model_grpc.upstream_rq_time")
    other = ("cluster.admin.upstream_rq_total", "cluster.queue.upstream_cx_active", "http.front.downstream_rq_total")
    assert all(re.search(STATS_FILTER, name) for name in wanted)
    assert not any(re.search(STATS_FILTER, name) for name in other)


def test_names_and_labels():
    class One(Collector):
        def collect(self):
            labels = ("default", "digits", "predictor", "predictor-0")
            yield from build_families([InstanceSample(labels=labels, stats=read("idle"), slots=1, depth=7)])

    registry = CollectorRegistry()
    registry.register(One())
    text = generate_latest(registry).decode()
    labels = 'component="predictor",deployment="digits",instance="predictor-0",namespace="default"'
    assert set(LABELS) == {"namespace", "deployment", "component", "instance"}
    assert f"forebay_queue_slots{{{labels}}} 1.0" in text
    assert f"forebay_queue_depth{{{labels}}} 7.0" in text
    assert f"forebay_queue_in_flight{{{labels}}} 0.0" in text
    assert f"forebay_queue_queued{{{labels}}} 0.0" in text
    assert re.search(r'forebay_queue_rejected_total\{.*reason="queue-full"\} 2\.0', text)
    assert f"forebay_queue_service_seconds_count{{{labels}}} 2.0" in text
    assert re.search(r"forebay_queue_wait_seconds_sum\{.*\} (1\.9|2\.)", text)
    names = set(re.findall(r"^(forebay_\w+)\{", text, re.MULTILINE))
    assert {name for name in names if not name.endswith(("_created", "_sum", "_count"))} == {
        "forebay_queue_in_flight",
        "forebay_queue_queued",
        "forebay_queue_slots",
        "forebay_queue_depth",
        "forebay_queue_rejected_total",
    }


def test_what_a_transformer_has_passed_on_is_its_predictors_load() -> None:
    line = 'envoy_cluster_upstream_rq_{what}{{envoy_cluster_name="{cluster}"}} {value}\n'
    counts = [("active", "queue", 9), ("pending_active", "queue", 2), ("active", "predictor", 7)]
    counts += [("pending_active", "predictor", 1)]
    stats = parse_queue_stats(
        "".join(line.format(what=what, cluster=name, value=number) for what, name, number in counts)
    )
    assert (stats.in_flight, stats.queued, stats.passed_on, stats.load) == (9, 2, 8, 3)
    assert QueueStats(in_flight=1, passed_on=2).load == 0, "one that is tried again may count twice"
    assert all(re.search(LOAD_FILTER, f"cluster.{name}.upstream_rq_{what}") for what, name, _ in counts)
