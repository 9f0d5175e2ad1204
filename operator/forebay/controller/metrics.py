"""What the operator tells of itself.

| name | type | meaning |
|---|---|---|
| forebay_leader | gauge | 1 while this operator leads |
| forebay_reconciles_total | counter | looks at ModelDeployments, by result: done, retried, failed |
| forebay_reconcile_duration_seconds | histogram | how long one took |
| forebay_reconcile_queue | gauge | ModelDeployments that wait for their turn |
| forebay_api_writes_total | counter | writes to the apiserver, by kind and verb |
| forebay_scalings_total | counter | changes in a number of instances, by direction and decider (see status/scale.py) |
| forebay_instances_wanted | gauge | instances that there are to be, by component |
| forebay_instances_ready | gauge | those that are ready |
| forebay_deployments | gauge | ModelDeployments, by the reason of their condition Ready |
| forebay_deployment_ready | gauge | 1 if a ModelDeployment is ready, else 0 |
| forebay_notifications_total | counter | webhooks that were told how a rollout goes, by result: sent, failed, dropped |
| forebay_rollout_step | gauge | the step that a rollout is in, from 1; of those that aren't over |
| forebay_rollout_weight_pct | gauge | the share of the requests that its revision is to have |
| forebay_rollout_waiting | gauge | 1 where it goes on with time alone, or by somebody's hand |
| forebay_rollout_analysis | gauge | 1 for what its analysis says: Passed, Inconclusive or Failed |
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forebay.kube.holdings import Owner
from forebay.rollout.progress import Phase

disable_created_metrics()  # type: ignore[no-untyped-call]
_WAITING = (Phase.RUNNING, Phase.WAITING, Phase.ANALYZING, Phase.PAUSED)
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics(Collector):
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._states: dict[Owner, tuple[str, bool]] = {}
        # By component: the instances that are wanted, and that are ready.
        self._instances: dict[Owner, dict[str, tuple[int, int]]] = {}
        # The step of a rollout that isn't over, its share, and whether it waits for the time or for somebody.
        self._rollouts: dict[Owner, tuple[int, int, int]] = {}
        # What its analysis says, where there is one.
        self._verdicts: dict[Owner, str] = {}
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
        self._scalings = Counter(
            "forebay_scalings",
            "Changes in a number of instances.",
            ["direction", "decider"],
            registry=self.registry,
        )
        self._notifications = Counter(
            "forebay_notifications", "Webhooks that were told how a rollout goes.", ["result"], registry=self.registry
        )
        self.registry.register(self)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Where the length of the queue is found."""
        self._queue.set_function(length)

    def count_write(self, kind: str, verb: str) -> None:
        """A write was made."""
        self._writes.labels(kind, verb).inc()

    def count_notification(self, result: str) -> None:
        """A notification was sent, failed or was dropped."""
        self._notifications.labels(result).inc()

    def count_scaling(self, direction: str, decider: str) -> None:
        """The number of a workload's instances has changed."""
        self._scalings.labels(direction, decider).inc()

    def note(self, owner: Owner, status: Mapping[str, Any]) -> None:
        """A ModelDeployment stands so now."""
        ready = next((each for each in status.get("conditions", ()) if each["type"] == "Ready"), None)
        if ready is not None:
            self._states[owner] = (ready["reason"], ready["status"] == "True")
        components = status.get("components") or ()
        self._instances[owner] = {each["name"]: (each["replicas"], each["readyReplicas"]) for each in components}
        self._rollouts.pop(owner, None)
        self._verdicts.pop(owner, None)
        if rollout := status.get("rollout"):
            self._rollouts[owner] = (rollout["step"], rollout["weightPct"], int(rollout["phase"] in _WAITING))
            if analysis := rollout.get("analysis"):
                self._verdicts[owner] = analysis["verdict"]

    def drop(self, owner: Owner) -> None:
        """A ModelDeployment is gone."""
        self._states.pop(owner, None)
        self._instances.pop(owner, None)
        self._rollouts.pop(owner, None)
        self._verdicts.pop(owner, None)

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
        yield from self._collect_instances()
        yield from self._collect_rollouts()

    def _collect_rollouts(self) -> Iterator[Metric]:
        labels = ["namespace", "deployment"]
        step = GaugeMetricFamily("forebay_rollout_step", "The step that a rollout is in.", labels=labels)
        weight = GaugeMetricFamily(
            "forebay_rollout_weight_pct", "The share of the requests that its revision is to have.", labels=labels
        )
        waiting = GaugeMetricFamily(
            "forebay_rollout_waiting", "Whether it goes on with time alone, or by somebody's hand.", labels=labels
        )
        for owner, numbers in self._rollouts.items():
            for family, number in zip((step, weight, waiting), numbers, strict=True):
                family.add_metric(owner, number)
        verdict = GaugeMetricFamily(
            "forebay_rollout_analysis", "What the analysis of a rollout says.", labels=[*labels, "verdict"]
        )
        for owner, outcome in self._verdicts.items():
            verdict.add_metric([*owner, outcome], 1)
        yield from (step, weight, waiting, verdict)

    def _collect_instances(self) -> Iterator[Metric]:
        labels = ["namespace", "deployment", "component"]
        wanted = GaugeMetricFamily("forebay_instances_wanted", "Instances that there are to be.", labels=labels)
        ready = GaugeMetricFamily("forebay_instances_ready", "Instances that are ready.", labels=labels)
        for owner, components in self._instances.items():
            for name, counts in components.items():
                for family, count in zip((wanted, ready), counts, strict=True):
                    family.add_metric([*owner, name], count)
        yield from (wanted, ready)
