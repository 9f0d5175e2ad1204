"""Settings of the operator, from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from forebay.environment import CommonSettings, Range, read
from forebay.plan.images import Images
from forebay.plan.site import MetricsProvider, Site

_NOBODY = "none"


@dataclass(frozen=True, kw_only=True)
class Settings(CommonSettings):
    """What the chart sets."""

    # The operator's own pod: its name among the candidates to lead.
    pod_name: str = ""
    # Builds images.
    image_operator: str = Images().operator
    # Serves scripts and downloads models.
    image_runtime: str = Images().runtime
    # Triton with Forebay's drain.
    image_triton: str = Images().triton
    # The queue in front of every instance.
    image_envoy: str = Images().envoy
    # Of all images.
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    # Where clients outside the cluster find the gateway.
    gateway_url: str = ""
    # Namespace whose pods may read metrics; empty is none.
    scrape_namespace: str = ""
    # The cluster's DNS domain.
    cluster_domain: str = "cluster.local"
    # Whether an agent on each node brings the models.
    node_cache: Literal["true", "false"] = "false"
    # ModelDeployments that are worked on at once.
    workers: Annotated[int, Range(1, 256)] = 16
    # The MLflow tracking server whose registry models:/ addresses name; empty is none.
    mlflow_uri: str = ""
    # Time between two questions to it, in which an alias that moves is noticed.
    mlflow_interval_s: Annotated[int, Range(1, 86400)] = 30
    # Who tells autoscalers how busy instances are.
    metrics_provider: Literal["forebay", "prometheus-adapter", "keda", "none"] = "forebay"
    # Where KEDA and the metrics API find Prometheus; empty is none.
    prometheus_url: str = ""
    # Whether webhooks are told how rollouts go, on which hosts they and those that judge rollouts may be (patterns,
    # separated by commas, or `none`), and whether Secrets may be read for their addresses.
    notifications: Literal["true", "false"] = "true"
    notification_hosts: str = "*"
    notification_secrets: Literal["true", "false"] = "false"

    @property
    def notified_hosts(self) -> tuple[str, ...]:
        """The hosts that webhooks may be on, and whoever else is asked at an address in a ModelDeployment."""
        if self.notification_hosts == _NOBODY:
            return ()
        return tuple(host.strip() for host in self.notification_hosts.split(",") if host.strip())

    @property
    def site(self) -> Site:
        """The part that the plan needs."""
        return Site(
            images=Images(
                envoy=self.image_envoy,
                triton=self.image_triton,
                operator=self.image_operator,
                runtime=self.image_runtime,
            ),
            pull_policy=self.image_pull_policy,
            namespace=self.namespace,
            gateway_service=self.gateway_service,
            cluster_domain=self.cluster_domain,
            scrape_namespace=self.scrape_namespace,
            node_cache=self.node_cache == "true",
            mlflow_uri=self.mlflow_uri,
            metrics_provider=MetricsProvider(self.metrics_provider),
            prometheus_url=self.prometheus_url,
        )


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment; SettingsError names each variable that is wrong. Empty is the default."""
    return read(Settings, environ)
