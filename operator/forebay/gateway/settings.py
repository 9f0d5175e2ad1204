"""Settings of the pilot, from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forebay.environment import CommonSettings, Port, read
from forebay.kube.connection import ACCOUNT
from forebay.plan.envoy_gateway import ADMIN_SOCKET, GATEWAY_PORT, XDS_SOCKET


@dataclass(frozen=True, kw_only=True)
class PilotSettings(CommonSettings):
    """What the chart sets. The sockets and ports are the same in every cluster; tests choose others."""

    # Folder with the ServiceAccount's token and the cluster's certificates.
    service_account: Path = ACCOUNT
    xds_socket: str = XDS_SOCKET
    admin_socket: str = ADMIN_SOCKET
    data_port: Port = GATEWAY_PORT


def read_settings(environ: Mapping[str, str] | None = None) -> PilotSettings:
    """The settings of an environment; SettingsError names each variable that is wrong. Empty is the default."""
    return read(PilotSettings, environ)
