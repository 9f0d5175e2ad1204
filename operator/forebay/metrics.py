"""Forebay's metrics of a queue: stable names, made of what the sidecar's Envoy counts.

| name | type | meaning |
|---|---|---|
| forebay_queue_in_flight | gauge | requests that the instance works on |
| forebay_queue_queued | gauge | requests that wait |
| forebay_queue_slots | gauge | requests that the instance may work on at once |
| forebay_queue_depth | gauge | requests that may wait |
| forebay_queue_rejected_total | counter | requests refused, by reason: queue-full, timeout, instance-failed |
| forebay_queue_wait_seconds | summary | time in the queue |
| forebay_queue_service_seconds | summary | time at the model server |

Labels: namespace, deployment, component (predictor or transformer), instance.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from forebay.plan.names import MODEL_GRPC_CLUSTER, MODEL_HTTP_CLUSTER, PREDICTOR_CLUSTER, QUEUE_CLUSTER

LABELS = ("namespace", "deployment", "component", "instance")
# What to ask the sidecar's admin for: /stats/prometheus?filter=...
STATS_FILTER = r"^cluster\.(queue|model_http|model_grpc)\.upstream_rq"
# What autoscaling by requests needs: an eighth of that text, and what a transformer waits for at its predictor.
LOAD_FILTER = r"^cluster\.(queue|predictor)\.upstream_rq_(active|pending_active|total)$"
# The buckets of histograms have one label more. prometheus_client's parser takes fifty times as long.
_SAMPLE = re.compile(r'^envoy_cluster_upstream_rq_(\w+)\{envoy_cluster_name="(\w+)"\} (\S+)$', re.MULTILINE)
_MOST = 2.0**53
_MODEL_CLUSTERS = (MODEL_HTTP_CLUSTER, MODEL_GRPC_CLUSTER)


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """What one sidecar counted since it started. `*_sum_s` are seconds over `*_count` answered requests.

    `begun_count` are the requests that were given a slot, `passed_on` those in flight that a transformer has passed on
    to its predictor and waits for.
    """

    in_flight: int = 0
    queued: int = 0
    passed_on: int = 0
    begun_count: int = 0
    total_count: int = 0
    service_sum_s: float = 0.0
    service_count: int = 0
    wait_sum_s: float = 0.0
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def load(self) -> int:
        """Requests that it works on itself, and that wait for it: not what it has passed on."""
        return max(0, self.in_flight - self.passed_on) + self.queued

    def after(self, earlier: "QueueStats") -> "QueueStats":
        """These stats, read later: a request that is between the two stages must not make the wait go back."""
        if self.total_count < earlier.total_count:  # another Envoy, which counts from zero
            return self
        return replace(self, wait_sum_s=max(self.wait_sum_s, earlier.wait_sum_s))


@dataclass(frozen=True, kw_only=True)
class InstanceSample:
    """The stats and limits of one instance, with the values of LABELS."""

    labels: tuple[str, str, str, str]
    stats: QueueStats
    slots: int
    depth: int


def parse_queue_stats(text: str) -> QueueStats:
    """Read the Prometheus text of a sidecar's admin. Its times are whole milliseconds cut off: half of one is added.

    Raises ValueError where it holds what can't be a count.
    """
    found: dict[tuple[str, str], float] = {}
    for name, cluster, text_value in _SAMPLE.findall(text):
        value = float(text_value)
        if not (math.isfinite(value) and 0 <= value <= _MOST):
            raise ValueError(f"{name} is {text_value}")
        found[cluster, name.removesuffix("_total")] = value

    def count(name: str, *clusters: str) -> float:
        return sum(found.get((cluster, name), 0.0) for cluster in clusters)

    def seconds(*clusters: str) -> float:
        return (count("time_sum", *clusters) + 0.5 * count("time_count", *clusters)) / 1000

    total_s, service_s = seconds(QUEUE_CLUSTER), seconds(*_MODEL_CLUSTERS)
    failed = count("pending_failure_eject", *_MODEL_CLUSTERS) + count("rx_reset", *_MODEL_CLUSTERS)
    return QueueStats(
        in_flight=int(count("active", QUEUE_CLUSTER)),
        queued=int(count("pending_active", QUEUE_CLUSTER)),
        passed_on=int(count("active", PREDICTOR_CLUSTER) + count("pending_active", PREDICTOR_CLUSTER)),
        begun_count=int(count("total", QUEUE_CLUSTER)),
        total_count=int(count("time_count", QUEUE_CLUSTER)),
        service_sum_s=service_s,
        service_count=int(count("time_count", *_MODEL_CLUSTERS)),
        # The time in queue and server, less the time in the server.
        wait_sum_s=max(0.0, total_s - service_s),
        rejected={
            "queue-full": int(count("pending_overflow", QUEUE_CLUSTER)),
            "timeout": int(count("timeout", QUEUE_CLUSTER)),
            "instance-failed": int(failed),
        },
    )


def build_families(samples: Iterable[InstanceSample]) -> Iterator[Metric]:
    """The metric families of the table above."""
    in_flight = GaugeMetricFamily("forebay_queue_in_flight", "Requests that the instance works on.", labels=LABELS)
    queued = GaugeMetricFamily("forebay_queue_queued", "Requests that wait.", labels=LABELS)
    slots = GaugeMetricFamily("forebay_queue_slots", "Requests it may work on at once.", labels=LABELS)
    depth = GaugeMetricFamily("forebay_queue_depth", "Requests that may wait.", labels=LABELS)
    rejected = CounterMetricFamily("forebay_queue_rejected", "Requests refused.", labels=(*LABELS, "reason"))
    wait = SummaryMetricFamily("forebay_queue_wait_seconds", "Time in the queue.", labels=LABELS)
    service = SummaryMetricFamily("forebay_queue_service_seconds", "Time at the model server.", labels=LABELS)
    for sample in samples:
        stats, labels = sample.stats, sample.labels
        in_flight.add_metric(labels, stats.in_flight)
        queued.add_metric(labels, stats.queued)
        slots.add_metric(labels, sample.slots)
        depth.add_metric(labels, sample.depth)
        for reason, number in stats.rejected.items():
            rejected.add_metric((*labels, reason), number)
        wait.add_metric(labels, count_value=stats.total_count, sum_value=stats.wait_sum_s)
        service.add_metric(labels, count_value=stats.service_count, sum_value=stats.service_sum_s)
    yield from (in_flight, queued, slots, depth, rejected, wait, service)
