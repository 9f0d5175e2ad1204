"""Settings of the operator, from its environment."""

import os
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forebay.plan.images import Images
from forebay.plan.site import Site

PREFIX = "FOREBAY_"


class SettingsError(ValueError):
    """A variable of the environment that can't be used."""


class Settings(BaseModel):
    """What the chart sets. Each field is read from FOREBAY_<FIELD>."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field(default="forebay-system", description="The operator's own namespace.")
    pod_name: str = Field(default="", description="The operator's own pod: its name among the candidates to lead.")
    watch_namespaces: str = Field(
        default="", description="Namespaces to look after, separated by commas; empty is all."
    )
    image_runtime: str = Field(default=Images().runtime, description="Serves scripts and downloads models.")
    image_triton: str = Field(default=Images().triton, description="Triton with Forebay's drain.")
    image_envoy: str = Field(default=Images().envoy, description="The queue in front of every instance.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(default="IfNotPresent", description="Of all.")
    gateway_service: str = Field(default="forebay-gateway", description="The gateway's Service in `namespace`.")
    gateway_url: str = Field(default="", description="Where clients outside the cluster find the gateway.")
    scrape_namespace: str = Field(default="", description="Namespace whose pods may read metrics; empty is none.")
    cluster_domain: str = Field(default="cluster.local", description="The cluster's DNS domain.")
    log_format: Literal["json", "text"] = Field(default="json", description="How log lines are written.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="What is logged.")
    workers: int = Field(default=16, ge=1, le=256, description="ModelDeployments that are worked on at once.")
    port: int = Field(default=9090, ge=0, le=65535, description="Port of /metrics, /healthz and /readyz.")

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces to look after; none named is all."""
        return tuple(name.strip() for name in self.watch_namespaces.split(",") if name.strip())

    @property
    def site(self) -> Site:
        """The part that the plan needs."""
        return Site(
            images=Images(envoy=self.image_envoy, triton=self.image_triton, runtime=self.image_runtime),
            pull_policy=self.image_pull_policy,
            namespace=self.namespace,
            gateway_service=self.gateway_service,
            cluster_domain=self.cluster_domain,
            scrape_namespace=self.scrape_namespace,
        )


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment; SettingsError names the variable that is wrong. Empty is the default."""
    environ = os.environ if environ is None else environ
    found = {name: environ.get(PREFIX + name.upper(), "") for name in Settings.model_fields}
    try:
        return Settings.model_validate({name: value for name, value in found.items() if value})
    except ValidationError as error:
        wrong = [f"{PREFIX}{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors(include_url=False)]
        raise SettingsError("; ".join(wrong)) from None
