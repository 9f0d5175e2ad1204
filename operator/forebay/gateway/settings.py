"""Settings of the pilot, from its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forebay.plan.envoy_gateway import ADMIN_SOCKET, GATEWAY_PORT, XDS_SOCKET

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, kw_only=True)
class PilotSettings:
    """What the chart sets. The sockets and ports are the same in every cluster; tests choose others."""

    namespace: str
    pod_name: str
    # Empty: all.
    watched: tuple[str, ...]
    gateway_service: str
    log_format: str
    log_level: str
    # Folder with the ServiceAccount's token and the cluster's certificates.
    account: Path
    xds_socket: str
    admin_socket: str
    data_port: int
    port: int


def read_settings(environ: Mapping[str, str] | None = None) -> PilotSettings:
    """The settings of an environment. Empty is the default."""
    found = {name: value for name, value in (os.environ if environ is None else environ).items() if value}
    watched = (name.strip() for name in found.get("FOREBAY_WATCH_NAMESPACES", "").split(","))
    return PilotSettings(
        namespace=found.get("FOREBAY_NAMESPACE", "forebay-system"),
        pod_name=found.get("FOREBAY_POD_NAME", ""),
        watched=tuple(name for name in watched if name),
        gateway_service=found.get("FOREBAY_GATEWAY_SERVICE", "forebay-gateway"),
        log_format=found.get("FOREBAY_LOG_FORMAT", "json"),
        log_level=found.get("FOREBAY_LOG_LEVEL", "INFO"),
        account=Path(found.get("FOREBAY_SERVICE_ACCOUNT", _ACCOUNT)),
        xds_socket=found.get("FOREBAY_XDS_SOCKET", XDS_SOCKET),
        admin_socket=found.get("FOREBAY_ADMIN_SOCKET", ADMIN_SOCKET),
        data_port=int(found.get("FOREBAY_DATA_PORT", GATEWAY_PORT)),
        port=int(found.get("FOREBAY_PORT", "9090")),
    )
