"""/metrics of everything that one `forebay serve` runs."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forebay.local.instance import Instance, State
from forebay.local.ports import HOST, find_free_ports
from forebay.metrics import LABELS, build_families


class _InstanceCollector(Collector):
    def __init__(self, instances: Callable[[], Iterable[Instance]]) -> None:
        self._instances = instances

    def collect(self) -> Iterator[Metric]:
        instances = list(self._instances())
        samples = [instance.sample() for instance in instances]
        yield from build_families(samples)
        ready = GaugeMetricFamily("forebay_instance_ready", "1 when requests are routed to it.", labels=LABELS)
        restarts = GaugeMetricFamily("forebay_instance_restarts", "Restarts of its model server.", labels=LABELS)
        for instance, sample in zip(instances, samples, strict=True):
            ready.add_metric(sample.labels, instance.state is State.READY)
            restarts.add_metric(sample.labels, instance.server.restarts)
        yield from (ready, restarts)
        models = GaugeMetricFamily("forebay_model_instances", "Instances of the model inside Triton.", labels=LABELS)
        for instance, sample in zip(instances, samples, strict=True):
            if instance.model_instances:
                models.add_metric(sample.labels, instance.model_instances)
        if models.samples:
            yield models


class Exporter:
    """Serves the metrics on a port of its own until it is stopped."""

    def __init__(self, instances: Callable[[], Iterable[Instance]]) -> None:
        registry = CollectorRegistry()
        registry.register(_InstanceCollector(instances))
        port = find_free_ports(1)[0]
        self.url = f"http://{HOST}:{port}/metrics"
        self._server, _ = start_http_server(port, addr=HOST, registry=registry)

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
