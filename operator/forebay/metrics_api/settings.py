"""Settings of the metrics API, from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forebay.environment import CommonSettings, Port, read
from forebay.kube.connection import ACCOUNT
from forebay.plan.names import METRICS_PORT


@dataclass(frozen=True, kw_only=True)
class MetricsApiSettings(CommonSettings):
    """What the chart sets. Ports are the same in every cluster; tests choose others."""

    # Folder with the ServiceAccount's token and the cluster's certificates.
    service_account: Path = ACCOUNT
    # The Service in `namespace` that the APIService names, and the Secret with the certificates.
    service: str = "forebay-metrics"
    secret: str = "forebay-metrics-tls"  # noqa: S105  (its name)
    # Where Prometheus is asked of GPUs; empty is nowhere.
    prometheus_url: str = ""
    # Of the API.
    api_port: Port = 8443
    # Of the sidecars.
    sidecar_port: Port = METRICS_PORT

    def list_hosts(self) -> list[str]:
        """What the apiserver calls it."""
        return [f"{self.service}.{self.namespace}.svc", f"{self.service}.{self.namespace}"]


def read_settings(environ: Mapping[str, str] | None = None) -> MetricsApiSettings:
    """The settings of an environment; SettingsError names each variable that is wrong. Empty is the default."""
    return read(MetricsApiSettings, environ)
