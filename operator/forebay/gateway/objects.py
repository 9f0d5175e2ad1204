"""What the pilot takes from objects of the apiserver. It reads no more of them, so that new fields are no matter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forebay.plan.envoy import Address
from forebay.plan.envoy_access import RateLimit
from forebay.plan.envoy_gateway import derive_timeout_s
from forebay.plan.envoy_routes import Target
from forebay.plan.names import build_route_name
from forebay.plan.units import parse_duration_s

Raw = Mapping[str, Any]
SERVICE_LABEL = "kubernetes.io/service-name"
_PORT = "http"


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A ModelDeployment, as far as the gateway is concerned. An empty `secret` asks for no API keys."""

    namespace: str
    name: str
    generation: int
    timeout_s: float
    targets: tuple[Target, ...]
    secret: str
    limit: RateLimit | None

    @property
    def route(self) -> str:
        """What it is called in the gateway."""
        return build_route_name(namespace=self.namespace, deployment=self.name)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """An EndpointSlice: ready endpoints of one Service."""

    cluster: str
    family: str
    members: tuple[Address, ...]


def read_deployment(raw: Raw) -> Deployment:
    """A ModelDeployment, which the apiserver has checked and filled with defaults."""
    metadata, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    access = spec.get("access") or {}
    namespace = metadata["namespace"]
    return Deployment(
        namespace=namespace,
        name=metadata["name"],
        generation=metadata.get("generation", 0),
        timeout_s=derive_timeout_s(parse_duration_s((spec.get("queue") or {}).get("timeout", "30s"))),
        targets=tuple(
            Target(
                cluster=f"{namespace}/{each['workload']}",
                revision=each["revision"],
                weight_pct=int(each["weightPct"]),
            )
            for each in status.get("traffic") or ()
        ),
        secret=(access.get("apiKeys") or {}).get("secretName", ""),
        limit=_read_limit(access.get("rateLimit")),
    )


def _read_limit(raw: Raw | None) -> RateLimit | None:
    if not raw:
        return None
    per_s = parse_duration_s(raw.get("per", "1s"))
    return RateLimit(requests=raw["requests"], per_s=per_s, by_client=raw.get("by") == "client")


def read_slice(raw: Raw) -> Slice:
    """An EndpointSlice. Instances that are not ready, or are going, get no new requests."""
    metadata = raw["metadata"]
    ports = raw.get("ports") or []
    port = next((each.get("port") for each in ports if each.get("name") == _PORT), None)
    ready = (each for each in raw.get("endpoints") or [] if port and _is_ready(each.get("conditions") or {}))
    return Slice(
        cluster=f"{metadata['namespace']}/{metadata.get('labels', {}).get(SERVICE_LABEL, '')}",
        family=raw.get("addressType", "IPv4"),
        members=tuple(Address(each["addresses"][0], port or 0) for each in ready),
    )


def _is_ready(conditions: Raw) -> bool:
    # Nothing said of readiness counts as ready, says the API.
    return conditions.get("ready") is not False and not conditions.get("terminating")
