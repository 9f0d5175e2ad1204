"""What the plan must know of the cluster that it is for."""

from dataclasses import dataclass, field
from enum import StrEnum

from forebay.plan.images import Images
from forebay.plan.mlflow import is_artifact
from forebay.plan.model_volume import is_mounted


class MetricsProvider(StrEnum):
    """Who tells autoscalers how busy instances are."""

    FOREBAY = "forebay"
    PROMETHEUS_ADAPTER = "prometheus-adapter"
    KEDA = "keda"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The cluster's images, its gateway, and who else may reach the pods.

    `namespace` is the operator's and the gateway's own. Pods in `scrape_namespace` may read the metrics; empty is none.
    With `node_cache` an agent on each node brings the models.
    `mlflow_uri` is the tracking server that hands out what is only there.
    Prometheus is found at `prometheus_url`; empty is none.
    """

    images: Images = field(default_factory=Images)
    pull_policy: str = "IfNotPresent"
    namespace: str = "forebay-system"
    gateway_service: str = "forebay-gateway"
    cluster_domain: str = "cluster.local"
    scrape_namespace: str = ""
    node_cache: bool = False
    mlflow_uri: str = ""
    metrics_provider: MetricsProvider = MetricsProvider.FOREBAY
    prometheus_url: str = ""

    @property
    def gateway_host(self) -> str:
        """The gateway's name in the cluster."""
        return f"{self.gateway_service}.{self.namespace}.svc.{self.cluster_domain}"

    def caches(self, uri: str) -> bool:
        """Whether the node's cache brings a model."""
        # What MLflow hands out is between its server and the pod: the agent has no login there.
        return self.node_cache and bool(uri) and not is_mounted(uri) and not is_artifact(uri)
