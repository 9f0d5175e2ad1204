"""What the plan must know of the cluster that it is for."""

from dataclasses import dataclass, field

from forebay.plan.images import Images


@dataclass(frozen=True, kw_only=True)
class Site:
    """The cluster's images, its gateway, and who else may reach the pods.

    `namespace` is the operator's and the gateway's own. Pods in `scrape_namespace` may read the metrics; empty is none.
    `mlflow_uri` is the tracking server that hands out what is only there.
    """

    images: Images = field(default_factory=Images)
    pull_policy: str = "IfNotPresent"
    namespace: str = "forebay-system"
    gateway_service: str = "forebay-gateway"
    cluster_domain: str = "cluster.local"
    scrape_namespace: str = ""
    mlflow_uri: str = ""

    @property
    def gateway_host(self) -> str:
        """The gateway's name in the cluster."""
        return f"{self.gateway_service}.{self.namespace}.svc.{self.cluster_domain}"
