"""What the operator tells of itself.

| name | type | meaning |
|---|---|---|
| forebay_leader | gauge | 1 while this operator leads |
| forebay_reconciles_total | counter | looks at ModelDeployments, by result: done, retried, failed |
| forebay_reconcile_duration_seconds | histogram | how long one took |
| forebay_reconcile_queue | gauge | ModelDeployments that wait for their turn |
| forebay_api_writes_total | counter | writes to the apiserver, by kind and verb |
| forebay_deployments | gauge | ModelDeployments, by the reason of their condition Ready |
| forebay_deployment_ready | gauge | 1 if a ModelDeployment is ready, else 0 |
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forebay.kube.holdings import Owner

disable_created_metrics()  # type: ignore[no-untyped-call]
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics(Collector):
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._states: dict[Owner, tuple[str, bool]] = {}
        self.leader = Gauge("forebay_leader", "1 while this operator leads.", registry=self.registry)
        self.reconciles = Counter(
            "forebay_reconciles", "Looks at ModelDeployments.", ["result"], registry=self.registry
        )
        self.duration = Histogram(
            "forebay_reconcile_duration_seconds", "How long one took.", buckets=_BUCKETS, registry=self.registry
        )
        self._queue = Gauge(
            "forebay_reconcile_queue", "ModelDeployments that wait for their turn.", registry=self.registry
        )
        self._writes = Counter(
            "forebay_api_writes", "Writes to the apiserver.", ["kind", "verb"], registry=self.registry
        )
        self.registry.register(self)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Where the length of the queue is found."""
        self._queue.set_function(length)

    def count_write(self, kind: str, verb: str) -> None:
        """A write was made."""
        self._writes.labels(kind, verb).inc()

    def note(self, owner: Owner, status: Mapping[str, Any]) -> None:
        """A ModelDeployment stands so now."""
        ready = next((each for each in status.get("conditions", ()) if each["type"] == "Ready"), None)
        if ready is not None:
            self._states[owner] = (ready["reason"], ready["status"] == "True")

    def drop(self, owner: Owner) -> None:
        """A ModelDeployment is gone."""
        self._states.pop(owner, None)

    def collect(self) -> Iterator[Metric]:
        """The states of all ModelDeployments."""
        by_state = GaugeMetricFamily("forebay_deployments", "ModelDeployments, by state.", labels=["state"])
        for state, number in Tally(state for state, _ in self._states.values()).items():
            by_state.add_metric([state], number)
        is_ready = GaugeMetricFamily(
            "forebay_deployment_ready", "Whether a ModelDeployment is ready.", labels=["namespace", "deployment"]
        )
        for owner, (_, ready) in self._states.items():
            is_ready.add_metric(owner, ready)
        yield from (by_state, is_ready)
