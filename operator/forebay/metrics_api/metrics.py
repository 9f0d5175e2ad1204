"""What can be asked of an instance, and how it follows from what its sidecar counted.

| name | value |
|---|---|
| forebay_queue | requests that the instance works on, and that wait for it; not those that it has passed on |
| forebay_queue_seconds | mean time in the queue, of the requests of the last minute |
| forebay_requests_per_second | requests that were given a slot, in the last minute |
| forebay_gpu_utilization | use of its GPUs in percent, as Prometheus knows it; see prometheus.py |

Source: https://github.com/kubernetes/metrics/blob/master/pkg/apis/custom_metrics/v1beta2/types.go
"""

from collections import deque
from dataclasses import dataclass

from forebay.metrics import LOAD_FILTER, STATS_FILTER, QueueStats
from forebay.plan.names import QUEUE_METRIC, QUEUE_TIME_METRIC, RATE_METRIC

# Rates are over at least the one, so that they aren't noise, and at most the other.
_LEAST_S = 1.0
_WINDOW_S = 60.0
_MOST_SAMPLES = 64

# What to ask a sidecar for, by the metric.
FILTERS = {QUEUE_METRIC: LOAD_FILTER, RATE_METRIC: LOAD_FILTER, QUEUE_TIME_METRIC: STATS_FILTER}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What an instance had counted at a time, in seconds of a steady clock."""

    at_s: float
    stats: QueueStats


@dataclass(frozen=True, kw_only=True)
class Value:
    """A metric's value, and the seconds that it is over; 0 is now."""

    value: float
    window_s: float = 0.0


class History:
    """The samples of one instance in the last minute."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=_MOST_SAMPLES)

    @property
    def newest(self) -> Sample | None:
        """The last one."""
        return self._samples[-1] if self._samples else None

    def add(self, sample: Sample) -> None:
        """One more; a sidecar that has started anew counts from zero, and so do we."""
        if self.newest and sample.stats.begun_count < self.newest.stats.begun_count:
            self._samples.clear()
        self._samples.append(sample)
        while sample.at_s - self._samples[0].at_s > _WINDOW_S:
            self._samples.popleft()

    def measure(self, metric: str) -> Value | None:
        """The metric's value; None where it isn't known yet."""
        newest, oldest = self.newest, self._samples[0] if self._samples else None
        if newest is None or oldest is None:
            return None
        if metric == QUEUE_METRIC:
            return Value(value=newest.stats.load)
        window_s = newest.at_s - oldest.at_s
        if window_s < _LEAST_S:
            return None
        if metric == RATE_METRIC:
            begun = newest.stats.begun_count - oldest.stats.begun_count
            return Value(value=begun / window_s, window_s=window_s)
        answered = newest.stats.total_count - oldest.stats.total_count
        if answered < 1 and newest.stats.queued:
            # How long they wait is known when they are answered.
            return None
        waited_s = newest.stats.wait_sum_s - oldest.stats.wait_sum_s
        return Value(value=max(0.0, waited_s) / answered if answered > 0 else 0.0, window_s=window_s)
